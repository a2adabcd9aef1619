"""An op on every device's own part of the batch, of the heads and of time.

The compiler splits arrays over a mesh by itself, but no kernel; inside `shard_map` each device runs
the op on what it holds. Neither batch nor heads meet in an op: nothing is sent. Along time states
are exchanged.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec
from jaxtyping import Array

from kernels_pallas.chip import automatic_axes
from kernels_pallas.delta_rule.across import delta_rule_across
from kernels_pallas.delta_rule.api import delta_rule
from kernels_pallas.exchange.how import BEST, Exchange
from kernels_pallas.linear_attention.across import linear_attention_across
from kernels_pallas.linear_attention.api import linear_attention
from kernels_pallas.linear_recurrence.across import linear_recurrence_across
from kernels_pallas.linear_recurrence.api import linear_recurrence

_ACROSS = {
    linear_attention: linear_attention_across,
    delta_rule: delta_rule_across,
    linear_recurrence: linear_recurrence_across,
}

# Axis letters of the arrays; log_decay of heads has as many of "b t h k" as it has axes, or "h".
AXES = {
    "q": "bthk",
    "k": "bthk",
    "v": "bthv",
    "beta": "bth",
    "x": "btd",
    "initial_state": "bhkv",
    "segment_ids": "bt",
}


def per_device(
    op: Callable[..., tuple[Array, Array]],
    *,
    batch: tuple[str, ...] = (),
    heads: tuple[str, ...] = (),
    time: tuple[str, ...] = (),
    how: Exchange = BEST,
) -> Callable[..., tuple[Array, Array]]:
    """`op` inside `jax.shard_map` of the current mesh (`jax.set_mesh`).

    Args:
        op: `linear_attention`, `delta_rule` or `linear_recurrence`.
        batch: mesh axes that the batch is split over.
        heads: mesh axes that the heads are split over, or the channels of `linear_recurrence`.
        time: mesh axes that the sequence is split over, in contiguous slices.
        how: how states travel along them (`exchange`).

    Returns:
        A function with the arguments and results of `op`. Axes that the current mesh does not have,
        and those that an outer `shard_map` has taken, are left out; without any it is `op` itself.

    Raises:
        ValueError: when called, if batch, heads or time cannot be split evenly.
    """

    @functools.wraps(op)
    def run(*args: Any, **kwargs: Any) -> tuple[Array, Array]:
        free = automatic_axes()
        if not free:
            return op(*args, **kwargs)
        names = {"b": _only(batch, free), "h": _only(heads, free), "d": _only(heads, free)}
        names["t"] = along = _only(time, free)
        local = functools.partial(_ACROSS[op], axis=along, how=how) if along else op
        given = inspect.signature(op).bind(*args, **kwargs).arguments
        given = {name: x for name, x in given.items() if x is not None}
        arrays = {name: given.pop(name) for name in (*AXES, "log_decay") if name in given}
        letters = {name: _letters(name, x, "x" in arrays) for name, x in arrays.items()}
        written = "x" if "x" in arrays else "v"

        def spec(letters: str) -> PartitionSpec:
            return PartitionSpec(*(names.get(letter) for letter in letters))

        return jax.shard_map(
            lambda arrays: local(**arrays, **given),
            in_specs=({name: spec(of) for name, of in letters.items()},),
            out_specs=(spec(letters[written]), spec("bd" if written == "x" else "bhkv")),
            check_vma=not (
                given.get("interpret") or how.interpret
            ),  # Pallas' interpreter knows no varying axes
        )(arrays)

    return run


def _only(wanted: tuple[str, ...], free: tuple[str, ...]) -> tuple[str, ...] | None:
    return tuple(name for name in wanted if name in free) or None


def _letters(name: str, x: Array, channels: bool) -> str:
    if channels:
        return {"x": "btd", "log_decay": "btd", "initial_state": "bd"}.get(name, "bt")
    if name == "log_decay":
        return "h" if x.ndim == 1 else "bthk"[: x.ndim]
    return AXES[name]
