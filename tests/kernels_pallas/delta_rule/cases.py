"""Inputs of the delta rule, easy and extreme, and one way to run and compare them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels_pallas.delta_rule import delta_rule

B, H, K, V = 2, 2, 6, 5
DECAYS = ("none", "constant", "head", "key")
GATES = np.array([0.0, -1e-6, -0.3, -40.0, -1e4])


class Case(NamedTuple):
    """One problem in float64; cotangents weigh the outputs and the final state in the loss."""

    arrays: dict[str, np.ndarray]
    segment_ids: np.ndarray | None
    cotangents: tuple[np.ndarray, np.ndarray]


def make_case(t: int, decay: str, *, segments: bool = False, seed: int = 0, **special: Any) -> Case:
    """`special` replaces inputs by name: an array, or a function of the ordinary one."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal
    arrays = {
        "q": normal((B, t, H, K)),
        "k": unit(normal((B, t, H, K))),
        "v": normal((B, t, H, V)),
        "beta": rng.uniform(0, 1, (B, t, H)),
        "initial_state": normal((B, H, K, V)),
    }
    shapes = {"constant": (H,), "head": (B, t, H), "key": (B, t, H, K)}
    if decay in shapes:
        arrays["log_decay"] = -np.logaddexp(0, normal(shapes[decay])) / 2
    for name, value in special.items():
        arrays[name] = value(arrays[name]) if callable(value) else value
    ids = np.cumsum(rng.uniform(size=(B, t)) < 0.15, axis=1) if segments else None
    return Case(arrays, ids, (normal((B, t, H, V)), normal((B, H, K, V))))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def extreme_gates(t: int, decay: str, seed: int = 1) -> np.ndarray:
    """Open, nearly open and closed gates mixed in one sequence."""
    shape = {"constant": (H,), "head": (B, t, H), "key": (B, t, H, K)}[decay]
    return np.random.default_rng(seed).choice(GATES, shape)


@functools.partial(jax.jit, static_argnames=("implementation", "chunk_size"))
def _value_and_gradients(arrays, segment_ids, cotangents, implementation, chunk_size):
    def run(arrays):
        return delta_rule(
            **arrays,
            segment_ids=segment_ids,
            implementation=implementation,
            chunk_size=chunk_size,
        )

    (outputs, state), pull = jax.vjp(run, arrays)
    d_outputs, d_state = cotangents
    (gradients,) = pull((d_outputs.astype(outputs.dtype), d_state.astype(state.dtype)))
    return {"outputs": outputs, "state": state} | {f"d_{n}": g for n, g in gradients.items()}


def evaluate(
    case: Case, implementation: str, dtype: Any = np.float64, chunk_size: int | None = None
) -> dict[str, np.ndarray]:
    """Outputs, final state and all gradients, as float64 numpy arrays."""
    with jax.enable_x64(True):
        arrays = {n: jnp.asarray(x, stored_dtype(n, dtype)) for n, x in case.arrays.items()}
        cotangents = tuple(jnp.asarray(x, np.float32).astype(np.float64) for x in case.cotangents)
        found = _value_and_gradients(
            arrays, case.segment_ids, cotangents, implementation, chunk_size
        )
        return {name: np.asarray(x.astype(np.float64)) for name, x in found.items()}


def stored_dtype(name: str, dtype: Any) -> Any:
    """The state and the log decay stay in float32 beside bfloat16 inputs."""
    short = jnp.dtype(dtype).itemsize < 4
    return np.float32 if short and name in ("initial_state", "log_decay") else dtype


def rounded(case: Case, dtype: Any) -> Case:
    """The same problem with inputs that `dtype` holds exactly."""

    def through(name: str, x: np.ndarray) -> np.ndarray:
        return np.asarray(jnp.asarray(x).astype(stored_dtype(name, dtype)).astype(np.float64))

    with jax.enable_x64(True):
        return case._replace(arrays={n: through(n, x) for n, x in case.arrays.items()})


def worst(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest error of each array, relative to its largest entry; inf where not finite."""
    errors = {}
    for name, want in wanted.items():
        difference = np.abs(found[name] - want).max()
        scale = max(np.abs(want).max(), 1e-30)
        errors[name] = float(difference / scale) if np.isfinite(difference) else np.inf
    return errors


def assert_close(found: dict, wanted: dict, bound: float) -> None:
    errors = worst(found, wanted)
    bad = {name: error for name, error in errors.items() if not error <= bound}
    assert not bad, f"relative errors above {bound}: {bad}"
