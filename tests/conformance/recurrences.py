"""The ops' recurrences in numpy, a line a token: they share no code with the ops."""

from __future__ import annotations

import numpy as np


def linear_attention(q, k, v, initial_state, log_decay=None, resets=None):
    """S <- Diag(exp g) S + k v^T; o = k^-1/2 S^T q."""
    state, outputs = initial_state.copy(), np.zeros(v.shape)
    for t in range(q.shape[1]):
        state = np.einsum("bhk,bhkv->bhkv", kept(t, q, log_decay, resets), state)
        state = state + np.einsum("bhk,bhv->bhkv", k[:, t], v[:, t])
        outputs[:, t] = np.einsum("bhk,bhkv->bhv", q[:, t], state) / np.sqrt(q.shape[-1])
    return outputs, state


def delta_rule(q, k, v, beta, initial_state, log_decay=None, resets=None):
    """S <- Diag(exp g) S; S <- S + beta k (v - S^T k)^T; o = k^-1/2 S^T q."""
    state, outputs = initial_state.copy(), np.zeros(v.shape)
    for t in range(q.shape[1]):
        state = np.einsum("bhk,bhkv->bhkv", kept(t, q, log_decay, resets), state)
        wrong = v[:, t] - np.einsum("bhk,bhkv->bhv", k[:, t], state)
        state = state + np.einsum("bh,bhk,bhv->bhkv", beta[:, t], k[:, t], wrong)
        outputs[:, t] = np.einsum("bhk,bhkv->bhv", q[:, t], state) / np.sqrt(q.shape[-1])
    return outputs, state


def linear_recurrence(x, log_decay, initial_state, resets=None):
    """h <- exp(g) h + x."""
    h, outputs = initial_state.copy(), np.zeros(x.shape)
    for t in range(x.shape[1]):
        start = np.zeros((len(x), 1)) if resets is None else resets[:, t, None]
        h = np.exp(log_decay[:, t]) * (1 - start) * h + x[:, t]
        outputs[:, t] = h
    return outputs, h


def kept(t, q, log_decay, resets) -> np.ndarray:
    """The share of the state that token t keeps [b, h, k]."""
    decay = np.zeros(()) if log_decay is None else log_decay
    if decay.ndim > 1:
        decay = decay[:, t]
    if decay.ndim < 3:
        decay = decay[..., None]
    start = np.zeros(len(q)) if resets is None else resets[:, t]
    return np.broadcast_to(np.exp(decay) * (1 - start[:, None, None]), q[:, t].shape)
