"""Pieces of the mixers written token by token in numpy float64, straight from the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

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
