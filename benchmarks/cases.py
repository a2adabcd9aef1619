"""Ops by name, random inputs for them, and what a peer has to offer. Imports no framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# Axes of the inputs besides q, k [b t h k] and v [b t h v].
OPS: dict[str, dict[str, str]] = {
    "linear": {},
    "retention": {"log_decay": "h"},
    "simple_gla": {"log_decay": "bth"},
    "gla": {"log_decay": "bthk"},
    "delta": {"beta": "bth"},
    "gated_delta": {"beta": "bth", "log_decay": "bth"},
    "kda": {"beta": "bth", "log_decay": "bthk"},
    "softmax": {},
}
COTANGENT = "cotangent"
CONSTANT = {"retention": "log_decay"}  # inputs that are not differentiated


class Shape(NamedTuple):
    """Sizes of the axes b, t, h, k, v."""

    b: int
    t: int
    h: int
    k: int
    v: int

    def __str__(self) -> str:
        width = f"k=v={self.k}" if self.k == self.v else f"k={self.k} v={self.v}"
        return f"b={self.b} t={self.t} h={self.h} {width}"


class Calls(NamedTuple):
    """A form of an op with its inputs in place. Calls may return before their results are there."""

    forward: Callable[[], Any]  # outputs [b t h v]
    both: Callable[[], tuple[Any, dict[str, Any]]]  # outputs, gradients by name
    wait: Callable[[Any], Any]  # until results are there
    numpy: Callable[[Any], np.ndarray]


class Peer(NamedTuple):
    """One implementation: `build(op, inputs, dtype)` for the ops that it has."""

    name: str
    ops: tuple[str, ...]
    build: Callable[[str, dict[str, np.ndarray], str], Calls]


def draw(op: str, shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """Unit keys, write strengths in (0, 1), log decays of about -0.05 a token; float32.

    Retention has its own decays, 1 - 2^(-5 - head). The last array is the outputs' cotangent.
    """
    rng, sizes = np.random.default_rng(seed), shape._asdict()
    axes = {"q": "bthk", "k": "bthk", "v": "bthv"} | OPS[op] | {COTANGENT: "bthv"}
    found = {
        name: rng.standard_normal([sizes[a] for a in shape], np.float32)
        for name, shape in axes.items()
    }
    found["k"] /= np.linalg.norm(found["k"], axis=-1, keepdims=True)
    if "beta" in found:
        found["beta"] = 1 / (1 + np.exp(-found["beta"]))
    if op == "retention":
        found["log_decay"] = np.log1p(-np.exp2(-5.0 - np.arange(shape.h))).astype(np.float32)
    elif "log_decay" in found:
        found["log_decay"] = -np.logaddexp(0, found["log_decay"]) / 16
    return found


def rounded(arrays: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Arrays whose entries bfloat16 holds exactly, but for the decay; as they are for float32."""
    if dtype != "bfloat16":
        return arrays
    nearest = lambda x: ((x.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)  # noqa: E731
    return {name: x if name == "log_decay" else nearest(x) for name, x in arrays.items()}


def largest_error(
    calls: Calls, right: tuple[np.ndarray, dict[str, np.ndarray]]
) -> tuple[float, str]:
    """The largest relative error (root mean squares) of outputs and gradients, and of which.

    Only what the form gives is compared: a peer may have no gradient of the decay.
    """
    outputs, gradients = calls.both()
    pairs = {"outputs": (outputs, right[0])}
    pairs |= {f"d {name}": (x, right[1][name]) for name, x in gradients.items()}
    errors = {"outputs of the forward call": _error(calls.numpy(calls.forward()), right[0])}
    errors |= {name: _error(calls.numpy(x), want) for name, (x, want) in pairs.items()}
    worst = max(errors, key=lambda name: errors[name])
    return errors[worst], worst


def _error(found: np.ndarray, want: np.ndarray) -> float:
    if found.shape != want.shape:
        return float("inf")
    error = float(np.sqrt(np.mean((found - want) ** 2) / np.mean(want**2)))
    return error if np.isfinite(error) else float("inf")
