"""What each method of exchange sends: bytes and steps, without compiling anything."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from kernels_pallas.exchange.how import Exchange, two_factors

Transition = Literal["none", "shared", "head", "key", "dense"]


class State(NamedTuple):
    """What one device holds of a layer's states: `rows` (batch times heads) of [k, v].

    transition: as ops name decays; "shared" is a number a head that all devices know. The
    elementwise recurrence over d channels has b d rows of [1, 1] and "key".
    """

    rows: int
    k: int
    v: int
    transition: Transition = "key"


class Traffic(NamedTuple):
    """Bytes that one device receives in a layer, and collectives one after the other."""

    forward: int
    backward: int
    steps: int  # forward and backward

    @property
    def total(self) -> int:
        return self.forward + self.backward


def beside(state: State, wire: str | None = None) -> int:
    """Numbers that travel beside a layer's states: those of transitions, in whole rows of v.

    In bfloat16 a transition travels as two numbers.
    """
    of_head = {"none": 0, "shared": 0, "head": 1, "key": state.k, "dense": state.k**2}
    numbers = state.rows * of_head[state.transition] * (1 if wire is None else 2)
    return -(-numbers // state.v) * state.v


def levels(how: Exchange, ranks: int) -> tuple[int, ...]:
    """Sizes of the groups that gather one after the other."""
    return (how.factors or two_factors(ranks)) if how.method == "hierarchical" else (ranks,)


def traffic(how: Exchange, ranks: int, state: State) -> Traffic:
    """What one device receives for one layer.

        all_gather    (W - 1) (S + M) forward, (W - 1) S backward
        hierarchical  sum over factors of (W_i - 1) instead of W - 1
        log_step      ceil(log2(W - 1)) + 1 times S + M, both ways
        ring          (W - 1) S, both ways
        all_scan      S, both ways
        psum          2 (W - 1) / W S, both ways

    times bytes a number; W devices, S = rows k v numbers of states, M of transitions: rows times
    0, 1 (a head), k, or k^2 of matrices, which travel again in the backward pass of gathers;
    twice that in bfloat16; filled up to whole rows of v. Where a permutation has no sender (the
    first devices) nothing arrives: figures are of the last device.

    Source: Sun et al. 2025, arXiv 2502.07563, section 4.4; what is written here counts every state
    that arrives. all_scan: arXiv 2507.01004.
    """
    size = 4 if how.wire is None else 2
    alone = state.rows * state.k * state.v * size
    packed = alone + beside(state, how.wire) * size
    if ranks == 1 or how.method == "off":
        return Traffic(0, 0, 0)
    if how.method in ("all_gather", "hierarchical"):
        factors = levels(how, ranks)
        copies = sum(factors) - len(factors)
        back = packed if state.transition == "dense" else alone
        return Traffic(copies * packed, copies * back, 2 * len(factors))
    if how.method == "log_step":
        steps = 1 + math.ceil(math.log2(max(1, ranks - 1)))
        return Traffic(steps * packed, steps * packed, 2 * steps)
    if how.method == "ring":
        return Traffic((ranks - 1) * alone, (ranks - 1) * alone, 2 * (ranks - 1))
    if how.method == "all_scan":
        return Traffic(alone, alone, 2)
    once = 2 * (ranks - 1) * alone // ranks  # psum
    return Traffic(once, once, 2)
