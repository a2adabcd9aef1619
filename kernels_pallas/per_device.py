"""An op on every device's own part of the batch, of the heads and of time.

The compiler splits arrays over a mesh by itself, but no kernel; inside `shard_map` each device runs
the op on what it holds. Neither batch nor heads meet in an op: nothing is sent. Along time states
are exchanged.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec
from jaxtyping import Array

from kernels_pallas.checked import checked
from kernels_pallas.chip import automatic_axes, explicit_axes
from kernels_pallas.delta_rule.across import delta_rule_across
from kernels_pallas.delta_rule.api import delta_rule
from kernels_pallas.exchange.how import BEST, Exchange, expect_how
from kernels_pallas.exchange.line import Axis
from kernels_pallas.linear_attention.across import linear_attention_across
from kernels_pallas.linear_attention.api import linear_attention
from kernels_pallas.linear_recurrence.across import linear_recurrence_across
from kernels_pallas.linear_recurrence.api import linear_recurrence
from kernels_pallas.shapes import check_log_decay

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


WORDS = {"b": "batch", "h": "heads", "d": "channels", "t": "time"}


def per_device(
    op: Callable[..., tuple[Array, Array]],
    *,
    batch: Axis = (),
    heads: Axis = (),
    time: Axis = (),
    how: Exchange = BEST,
) -> Callable[..., tuple[Array, Array]]:
    """`op` inside `jax.shard_map` of the current mesh (`jax.set_mesh`).

    Args:
        op: `linear_attention`, `delta_rule` or `linear_recurrence`.
        batch: mesh axes that the batch is split over, or one.
        heads: mesh axes that the heads are split over, or the channels of `linear_recurrence`.
        time: mesh axes that the sequence is split over, in contiguous slices.
        how: how states travel along them (`exchange`).

    Returns:
        A function with the arguments and results of `op`. Axes that the current mesh does not have,
        and those that an outer `shard_map` has taken, are left out; without any it is `op` itself.

    Raises:
        ValueError: `op` is none of these, or an axis is named twice; when called, if `op` would
            refuse an argument, or batch, heads or time cannot be split evenly.
    """
    if op not in _ACROSS:
        known = ", ".join(known.__name__ for known in _ACROSS)
        raise ValueError(f"per_device: {getattr(op, '__name__', op)!r} is no op; known: {known}")
    expect_how("per_device", how)
    split = {"b": _axes(batch), "h": _axes(heads), "d": _axes(heads), "t": _axes(time)}
    _refuse_twice(split)

    @functools.wraps(op)
    def run(*args: Any, **kwargs: Any) -> tuple[Array, Array]:
        # Explicit axes of one device are part of the arrays' types too.
        free = (*automatic_axes(), *explicit_axes())
        if not free:
            return op(*args, **kwargs)
        names = {of: tuple(axis for axis in axes if axis in free) for of, axes in split.items()}
        along = names["t"]
        local = functools.partial(_ACROSS[op], axis=along, how=how) if along else op
        given = inspect.signature(op).bind(*args, **kwargs).arguments
        given = {name: x for name, x in given.items() if x is not None}
        _check(op, given)
        arrays = {name: given.pop(name) for name in (*AXES, "log_decay") if name in given}
        letters = {name: _letters(name, x, "x" in arrays) for name, x in arrays.items()}
        for name, x in arrays.items():
            _refuse_uneven(name, x.shape, letters[name], names)
        written = "x" if "x" in arrays else "v"

        specs = {name: _spec(of, names) for name, of in letters.items()}
        after = _spec("bd" if written == "x" else "bhkv", names)
        return jax.shard_map(
            lambda arrays: local(**arrays, **given),
            in_specs=(specs,),
            out_specs=(specs[written], after),
            check_vma=not (
                given.get("interpret") or how.interpret
            ),  # Pallas' interpreter knows no varying axes
        )(_placed(arrays, letters, names))

    return run


def _axes(axes: Axis) -> tuple[str, ...]:
    return (axes,) if isinstance(axes, str) else tuple(axes)


def _refuse_twice(split: dict[str, tuple[str, ...]]) -> None:
    named = [(axis, WORDS[of]) for of in "bht" for axis in split[of]]
    for axis, _ in named:
        words = [word for name, word in named if name == axis]
        if len(words) > 1:
            raise ValueError(
                f"per_device: the mesh axis {axis!r} is named for {' and for '.join(words)}; an "
                "axis splits one of them"
            )


def _check(op: Callable[..., Any], given: dict[str, Any]) -> None:
    """As `op` checks, on the whole arrays: inside `shard_map` shapes are of slices and no value can
    be looked at."""
    defaults = {name: p.default for name, p in inspect.signature(op).parameters.items()}
    shapes = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype) if hasattr(x, "dtype") else x
        for name, x in given.items()
    }
    checked(op.__name__, defaults | shapes)
    check_log_decay(op.__name__, given.get("log_decay"))


def _refuse_uneven(
    name: str, shape: tuple[int, ...], letters: str, names: dict[str, tuple[str, ...]]
) -> None:
    sizes = jax.sharding.get_abstract_mesh().shape
    for size, letter in zip(shape, letters, strict=True):
        axes = names.get(letter, ())
        ways = math.prod(sizes[axis] for axis in axes)
        if size % ways:
            below = size - size % ways
            near = " or ".join(str(n) for n in (below, below + ways) if n)
            raise ValueError(
                f"per_device: {name} [{' '.join(letters)}] has shape {shape}; its {WORDS[letter]}, "
                f"{size}, cannot be split evenly over the {ways} devices of the mesh axes "
                f"{', '.join(axes)}; nearest: {near}"
            )


def _spec(letters: str, names: dict[str, tuple[str, ...]]) -> PartitionSpec:
    return PartitionSpec(*(names.get(letter) or None for letter in letters))


def _placed(
    arrays: dict[str, Array], letters: dict[str, str], names: dict[str, tuple[str, ...]]
) -> dict[str, Array]:
    """Split as `shard_map` takes them. Along axes of type Explicit it does not do that itself."""
    explicit = explicit_axes()
    if not explicit:
        return arrays
    typed = {of: tuple(axis for axis in axes if axis in explicit) for of, axes in names.items()}
    return {
        name: jax.sharding.reshard(x, _spec(letters[name], typed)) for name, x in arrays.items()
    }


def _letters(name: str, x: Array, channels: bool) -> str:
    if channels:
        return {"x": "btd", "log_decay": "btd", "initial_state": "bd"}.get(name, "bt")
    if name == "log_decay":
        return "h" if x.ndim == 1 else "bthk"[: x.ndim]
    return AXES[name]
