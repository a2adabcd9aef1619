"""Checks and conversions of arguments that the ops share."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def accumulation_dtype(*arrays: Array) -> Any:
    """float32, or float64 when an input is float64: the dtype of states and cumulative decays."""
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def expect(op: str, name: str, array: Array, shape: tuple[int | None, ...], axes: str) -> None:
    """Raises ValueError unless `array` has `shape` (None: any size), naming the axes."""
    fits = len(array.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{op}: {name} [{axes}] has shape {array.shape}; wanted ({wanted})")


def check_heads(
    op: str,
    q: Array,
    k: Array,
    v: Array,
    initial_state: Array | None,
    segment_ids: Array | None,
) -> None:
    """Shapes of q, k [b t h k], v [b t h v], initial_state [b h k v], segment_ids [b t]."""
    expect(op, "q", q, (None,) * 4, "b t h k")
    b, t, h, key = q.shape
    expect(op, "k", k, (b, t, h, key), "b t h k")
    expect(op, "v", v, (b, t, h, None), "b t h v")
    if min(b, t, h, key, v.shape[-1]) < 1:
        raise ValueError(f"{op}: every axis needs at least one entry; q {q.shape}, v {v.shape}")
    if initial_state is not None:
        expect(op, "initial_state", initial_state, (b, h, key, v.shape[-1]), "b h k v")
    if segment_ids is not None:
        expect(op, "segment_ids", segment_ids, (b, t), "b t")


def token_decay(
    op: str, log_decay: Array | None, q: Float[Array, "b t h k"], dtype: Any
) -> Float[Array, "b t h g"] | None:
    """log_decay as [b, t, h, g] with g = 1 (a head) or k (a key); None stays None.

    Accepts [h], [b, t, h] and [b, t, h, k]; its gradient comes back in the given shape. Raises
    ValueError for any other shape.
    """
    if log_decay is None:
        return None
    b, t, h, key = q.shape
    by_shape = {
        (h,): lambda g: jnp.broadcast_to(g[None, None, :, None], (b, t, h, 1)),
        (b, t, h): lambda g: g[..., None],
        (b, t, h, key): lambda g: g,
    }
    if log_decay.shape not in by_shape:
        raise ValueError(
            f"{op}: log_decay has shape {log_decay.shape}; wanted [h] {(h,)}, [b t h] {(b, t, h)}, "
            f"[b t h k] {(b, t, h, key)} or None"
        )
    return by_shape[log_decay.shape](log_decay).astype(dtype)


def resets_of(segment_ids: Int[Array, "b t"] | None) -> Bool[Array, "b t"] | None:
    """True where a token starts a new document; never at the first, which continues the state."""
    if segment_ids is None:
        return None
    changed = segment_ids[:, 1:] != segment_ids[:, :-1]
    return jnp.pad(changed, ((0, 0), (1, 0)))
