"""Pieces of the mixers written token by token in numpy float64, straight from the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxlin.mixers import build
from tests.conformance.mixers import ONE, PACKED, close, inputs, params, whole


def check(config: Any, oracle: Callable[..., np.ndarray], bound: float) -> None:
    """The compiled mixer against `oracle(config, params, x, segments)`, packed and not."""
    x = inputs()
    for segments in (PACKED, ONE):
        found = whole(config)(params(config), x, segments)
        expected = oracle(config, params(config)["params"], np.float64(x), np.asarray(segments))
        close(found, expected, bound)


def weights(params: Any) -> dict[str, Any]:
    """Parameters as float64, {site: {name: array}}."""
    return jax.tree.map(np.float64, params)


def sigmoid(x: Any) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def silu(x: Any) -> np.ndarray:
    return x * sigmoid(x)


def softmax(x: Any) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rms(x: Any, scale: Any, eps: float = 1e-6) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * scale


def heads(x: np.ndarray, h: int, repeat: int = 1) -> np.ndarray:
    """[b, t, h * k] -> [b, t, h * repeat, k], each head `repeat` times in a row."""
    return np.repeat(x.reshape(*x.shape[:2], h, -1), repeat, axis=2)


def convolution(x: np.ndarray, kernel: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Causal, a channel at a time, over tokens of the same document."""
    y, width = np.zeros_like(x), len(kernel)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for back in range(min(width, t + 1)):
                if segments[b, t - back] == segments[b, t]:
                    y[b, t] += kernel[width - 1 - back] * x[b, t - back]
    return y


def starts(segments: np.ndarray) -> np.ndarray:
    """Where a document starts."""
    first = np.ones_like(segments[:, :1], bool)
    return np.concatenate([first, segments[:, 1:] != segments[:, :-1]], axis=1)


def l2(x: Any) -> np.ndarray:
    return x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)


def positions(segments: np.ndarray) -> np.ndarray:
    """Position of each token in its document [b, t]."""
    time = np.arange(segments.shape[1])
    return time - np.maximum.accumulate(np.where(starts(segments), time, 0), axis=1)


def turned(x: np.ndarray, positions: np.ndarray, base: float) -> np.ndarray:
    """Rotary positions, half-split, as a product of complex numbers."""
    half = x.shape[-1] // 2
    z = x[..., :half] + 1j * x[..., half:]
    z = z * np.exp(1j * positions[:, :, None, None] * base ** (-np.arange(half) / half))
    return np.concatenate([z.real, z.imag], axis=-1)


def memory(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    decay: np.ndarray,
    segments: np.ndarray,
    beta: np.ndarray | None = None,
) -> np.ndarray:
    """S^T q of S <- Diag(decay) S + k v^T, or with beta S <- S + beta k (v - S^T k)^T after it.

    q, k, decay [b, t, h, k], v [b, t, h, v]; unscaled, a token and head at a time.
    """
    o, first = np.zeros_like(v), starts(segments)
    for b, h in np.ndindex(q.shape[0], q.shape[2]):
        for t in range(q.shape[1]):
            if first[b, t]:
                state = np.zeros((k.shape[-1], v.shape[-1]))
            state = decay[b, t, h][:, None] * state
            new = v[b, t, h]
            if beta is not None:
                new = beta[b, t, h] * (new - state.T @ k[b, t, h])
            state = state + np.outer(k[b, t, h], new)
            o[b, t, h] = state.T @ q[b, t, h]
    return o


def projected(c: Any, w: dict[str, Any], x: np.ndarray, name: str, segments: np.ndarray) -> Any:
    """A projection after its convolution, if the config has one."""
    y = x @ w[name]["kernel"]
    return convolution(y, w[f"{name}_conv"]["kernel"], segments) if c.conv else y


def count(config: Any, width: int) -> int:
    """Parameters of a mixer."""
    x = jax.ShapeDtypeStruct((1, 2, width), np.float32)
    shapes = jax.eval_shape(build(config, width).init, jax.random.key(0), x)
    return sum(int(np.prod(a.shape)) for a in jax.tree.leaves(shapes))
