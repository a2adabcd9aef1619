"""States by gathering: at once from all devices (LASP-2), or level by level (hierarchical)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.exchange import prefix
from kernels_pallas.exchange.line import Line
from kernels_pallas.exchange.wire import Wire
from kernels_pallas.monoid import Summary, apply


def exchange_gathered(
    own: Summary, line: Line, wire: Wire, factors: Sequence[int], kept: Any = None
) -> tuple[Array, list[Array]]:
    """The state that comes in, and the gathered transitions of each level.

    A level of `factors` (the fastest first, their product the number of devices) is a gather among
    devices that differ in one digit of their rank, and makes one stretch of them. `kept`: gathered
    transitions, where an exchange the other way has them already.

    Source: Sun et al. 2025, arXiv 2502.07563, Algorithms 2 and 4.
    """
    levels, transitions, total = [], [], own
    for number, (count, stride) in enumerate(_levels(factors)):
        if kept is None:
            packed = line.gather(wire.pack(total), count, stride)
            # What does not travel is the same for all.
            parts = jax.vmap(functools.partial(wire.unpack, like=total))(packed)
        else:
            states_only = wire._replace(with_transition=False)
            found = line.gather(states_only.pack(total), count, stride).astype(own.state.dtype)
            parts = Summary(jnp.flip(kept[number], axis=0), found)
        transitions.append(parts.transition)
        levels.append(prefix.before(parts, line.rank() // stride % count))
        total = prefix.whole(parts)
    state = levels[-1].state
    for level in reversed(levels[:-1]):
        state = apply(level, state)
    return state, transitions


def _levels(factors: Sequence[int]) -> Iterator[tuple[int, int]]:
    stride = 1
    for count in factors:
        yield count, stride
        stride *= count
