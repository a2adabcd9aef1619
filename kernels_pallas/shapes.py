"""Checks and conversions of arguments that the ops share."""

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

FLOATS = ("bfloat16", "float16", "float32", "float64")


def accumulation_dtype(*arrays: Array) -> Any:
    """float32, or float64 when an input is float64: the dtype of states and cumulative decays."""
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def expect(
    op: str, name: str, array: Array, shape: tuple[int | None, ...], axes: str, todo: str = ""
) -> None:
    """Raises ValueError unless `array` is an array of `shape` (None: any size), naming the axes."""
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise ValueError(
            f"{op}: {name} [{axes}] is a {type(array).__name__}; wanted an array: jnp.asarray(...)"
        )
    fits = len(array.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"{op}: {name} [{axes}] has shape {array.shape}; wanted ({wanted}){todo and '; '}{todo}"
        )


def expect_floats(op: str, **arrays: Array | None) -> None:
    """Raises ValueError where an array, None aside, holds other numbers than floats."""
    for name, array in arrays.items():
        if array is not None and jnp.dtype(array.dtype).name not in FLOATS:
            raise ValueError(
                f"{op}: {name} {array.shape} has dtype {array.dtype}; wanted "
                f"{', '.join(FLOATS[:-1])} or {FLOATS[-1]}: convert it with astype"
            )


def expect_whole(op: str, **arrays: Array | None) -> None:
    """Raises ValueError where an array is split over mesh axes of type Explicit.

    There every operation inside of an op would have to say how its result is split.
    """
    for name, array in arrays.items():
        if array is None:
            continue
        spec = getattr(jax.typeof(array).sharding, "spec", ())
        if axes := [str(part) for part in spec if part is not None]:
            raise ValueError(
                f"{op}: {name} {array.shape} is split over mesh axes of type Explicit, "
                f"{', '.join(axes)}; call kernels_pallas.per_device({op}, batch=..., heads=..., "
                "time=...), which takes the same arguments, or make the mesh with axis_types of "
                "jax.sharding.AxisType.Auto"
            )


def check_segments(op: str, segment_ids: Array | None, b: int, t: int) -> None:
    """Raises ValueError unless segment_ids is None or integers [b, t]."""
    if segment_ids is None:
        return
    expect(op, "segment_ids", segment_ids, (b, t), "b t", "one id for each token")
    if not jnp.issubdtype(segment_ids.dtype, jnp.integer):
        raise ValueError(
            f"{op}: segment_ids {segment_ids.shape} has dtype {segment_ids.dtype}; wanted integers"
        )


def check_chunk_size(op: str, chunk_size: int | None) -> None:
    """Raises ValueError unless chunk_size is None or a power of two."""
    if chunk_size is None:
        return
    try:
        size = operator.index(chunk_size)
    except TypeError:
        size = 0
    if size < 1 or size & (size - 1):
        raise ValueError(f"{op}: chunk_size is {chunk_size}; wanted a power of two, such as 64")


def scale_of(op: str, scale: float | None, key: int) -> float:
    """The factor of the outputs, key^-0.5 where none is given. Raises unless a finite number."""
    if scale is None:
        return key**-0.5
    try:
        known = not isinstance(scale, Tracer) and math.isfinite(scale)
    except TypeError:
        known = False
    if not known:
        raise ValueError(
            f"{op}: scale is {scale}; wanted a finite number, known before tracing; "
            "multiply q by a factor that is computed"
        )
    return float(scale)


def check_log_decay(op: str, log_decay: Array | None) -> None:
    """Raises ValueError where a log decay is above 0 or NaN.

    Values that are being traced cannot be looked at. With `jax_debug_nans` set while a function
    is compiled, it checks them as it runs, and fails with the same words.
    """
    if log_decay is None or not jnp.issubdtype(log_decay.dtype, jnp.floating):
        return
    found = f"{op}: log_decay {log_decay.shape}"
    if isinstance(log_decay, Tracer):
        if jax.config.jax_debug_nans:
            jax.debug.callback(lambda worst: _refuse_above_zero(found, worst), jnp.max(log_decay))
    else:
        # A constant inside jit is not traced, but a sum over it would be.
        with jax.ensure_compile_time_eval():
            _refuse_above_zero(found, jnp.max(log_decay, initial=-jnp.inf))


def _refuse_above_zero(found: str, worst: Any) -> None:
    if not float(worst) <= 0:
        raise ValueError(
            f"{found} reaches {float(worst):.6g}; wanted values <= 0: it is the logarithm of a "
            "factor in [0, 1], such as jax.nn.log_sigmoid(x) or -jax.nn.softplus(x)"
        )


def check_heads(
    op: str,
    q: Array,
    k: Array,
    v: Array,
    initial_state: Array | None,
    segment_ids: Array | None,
) -> None:
    """Shapes of q, k [b t h k], v [b t h v], initial_state [b h k v], segment_ids [b t]."""
    heads = "repeat grouped heads with jnp.repeat(x, n, axis=2)"
    expect(op, "q", q, (None,) * 4, "b t h k", "batch, time, heads, channels of a head")
    b, t, h, key = q.shape
    expect(op, "k", k, (b, t, h, key), "b t h k", f"as q; {heads}")
    expect(op, "v", v, (b, t, h, None), "b t h v", f"as q but for its channels; {heads}")
    if min(b, t, h, key, v.shape[-1]) < 1:
        raise ValueError(f"{op}: every axis needs at least one entry; q {q.shape}, v {v.shape}")
    if initial_state is not None:
        wanted = (b, h, key, v.shape[-1])
        expect(op, "initial_state", initial_state, wanted, "b h k v", "keys before values")
    expect_floats(op, q=q, k=k, v=v, initial_state=initial_state)
    expect_whole(op, q=q, k=k, v=v, initial_state=initial_state)
    check_segments(op, segment_ids, b, t)


def check_decay(op: str, log_decay: Array | None, q: Float[Array, "b t h k"]) -> None:
    """Raises ValueError unless log_decay is None or floats <= 0, [h], [b, t, h] or [b, t, h, k]."""
    if log_decay is None:
        return
    expect(op, "log_decay", log_decay, (None,) * np.ndim(log_decay), "...")
    b, t, h, key = q.shape
    if log_decay.shape not in ((h,), (b, t, h), (b, t, h, key)):
        raise ValueError(
            f"{op}: log_decay has shape {log_decay.shape}; wanted [h] {(h,)}, [b t h] {(b, t, h)}, "
            f"[b t h k] {(b, t, h, key)} or None"
        )
    expect_floats(op, log_decay=log_decay)
    expect_whole(op, log_decay=log_decay)
    check_log_decay(op, log_decay)


def token_decay(
    log_decay: Array | None, q: Float[Array, "b t h k"], dtype: Any
) -> Float[Array, "b t h g"] | None:
    """log_decay as [b, t, h, g] with g = 1 (a head) or k (a key); None stays None.

    Its gradient comes back in the shape that was given.
    """
    if log_decay is None:
        return None
    log_decay = jnp.asarray(log_decay, dtype)
    if log_decay.ndim == 1:
        return jnp.broadcast_to(log_decay[None, None, :, None], (*q.shape[:3], 1))
    return log_decay[..., None] if log_decay.ndim == 3 else log_decay


def resets_of(segment_ids: Int[Array, "b t"] | None) -> Bool[Array, "b t"] | None:
    """True where a token starts a new document; never at the first, which continues the state."""
    if segment_ids is None:
        return None
    changed = segment_ids[:, 1:] != segment_ids[:, :-1]
    return jnp.pad(changed, ((0, 0), (1, 0)))
