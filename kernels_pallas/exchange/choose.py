"""Which exchange is the fastest on a chip: from bytes, devices and the torus that joins them.

Predicted seconds of one layer, forward and backward, are the sum over its steps of

    hops * HOP + bytes through the busiest link / link bandwidth + 2 * bytes / HBM bandwidth

(the last: what arrives is written, and read to be put together), and where transitions are
matrices the products of what arrives, in full float32: six bfloat16 passes. How many links carry
a gather depends on the torus: a group that is a dimension of it whose ends are joined uses two, one
that spans n dimensions 2 n; ends that are not joined halve that. A permutation over d places
crosses d links, and all devices send at once, so that each link carries d messages (the shorter way
round where ends are joined), and only one way.

All-Scan sends n blocks along the line, each put together on every device before it is sent on: see
`all_scan_cut.seconds`.

What compilers do beside that (compiled programs show it): v5p and TPU7x make an all-reduce of a
gather between 64 devices or more that spans the whole torus: twice the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax

from kernels_pallas.chip import target
from kernels_pallas.exchange import all_scan_cut
from kernels_pallas.exchange.all_scan_cut import FULL_FLOAT32
from kernels_pallas.exchange.how import Exchange
from kernels_pallas.exchange.traffic import State, Traffic, Transition, levels, traffic
from kernels_pallas.hardware import (
    CHIPS,
    HOP,
    Hardware,
    distance,
    guess_part,
    guess_torus,
    hops,
    links,
)
from kernels_pallas.monoid import Summary

MIB = 2**20


class Choice(NamedTuple):
    """An exchange, and why."""

    how: Exchange
    reason: str


class Estimate(NamedTuple):
    """One method on given devices."""

    how: Exchange
    traffic: Traffic
    seconds: float


def choose(
    ranks: int,
    state: State,
    kind: str,
    *,
    devices: int | None = None,
    torus: tuple[int, ...] | None = None,
    wire: str | None = None,
) -> Choice:
    """The fastest exact exchange of states between `ranks` devices.

    Args:
        ranks: devices that the sequence is split over.
        state: what each of them holds of the layer (`State`).
        kind: device_kind of the chip, such as "TPU v5 lite".
        devices: of the whole slice; None: there are no others.
        torus: sizes of the torus dimensions that the axis runs over, the slowest varying first;
            None: as the usual slice of so many chips has them.
        wire: "bfloat16", or None: as computed; states of dense transitions stay as they are.
    """
    wire = None if state.transition == "dense" else wire
    if ranks == 1:
        return Choice(Exchange("all_gather", None, wire), "one device: nothing travels")
    if kind not in CHIPS:
        return _unknown(ranks, state, kind, wire)
    chip = CHIPS[kind]
    found = estimates(ranks, state, chip, devices=devices, torus=torus, wire=wire)
    best, second = sorted(found, key=lambda e: e.seconds)[:2]
    return Choice(best.how, _reason(best, second, ranks, chip, devices or ranks))


def estimates(
    ranks: int,
    state: State,
    chip: Hardware,
    *,
    devices: int | None = None,
    torus: tuple[int, ...] | None = None,
    wire: str | None = None,
) -> list[Estimate]:
    """Every exact method that "auto" chooses from, with its bytes and predicted seconds.

    all_scan is not among them before it has been measured: its prediction (`estimate`) rests on
    what a hop between kernels costs, which no compiled program shows, and it runs while the device
    computes nothing, where a gather may hide behind the work within slices.
    """
    torus = _torus(ranks, chip, devices, torus)
    plans = [Exchange(method, None, wire) for method in ("all_gather", "log_step", "ring")]
    if len(torus) > 1:
        plans.insert(1, Exchange("hierarchical", tuple(reversed(torus)), wire))
    return [estimate(how, ranks, state, chip, devices=devices, torus=torus) for how in plans]


def estimate(
    how: Exchange,
    ranks: int,
    state: State,
    chip: Hardware,
    *,
    devices: int | None = None,
    torus: tuple[int, ...] | None = None,
) -> Estimate:
    """One exact method, all_scan too, with its bytes and predicted seconds."""
    torus = _torus(ranks, chip, devices, torus)
    sent, whole = traffic(how, ranks, state), devices in (None, ranks)
    return Estimate(how, sent, _seconds(how, sent, ranks, state, chip, torus, whole))


def _torus(
    ranks: int, chip: Hardware, devices: int | None, torus: tuple[int, ...] | None
) -> tuple[int, ...]:
    torus = torus or guess_part(chip, ranks, devices or ranks)
    if math.prod(torus) != ranks:
        raise ValueError(
            f"choose: torus {torus} has {math.prod(torus)} devices, the axis {ranks}; give the "
            "sizes of the torus dimensions that the axis runs over"
        )
    return torus


def _seconds(
    how: Exchange,
    sent: Traffic,
    ranks: int,
    state: State,
    chip: Hardware,
    torus: tuple[int, ...],
    whole: bool,
) -> float:
    """See the module."""
    if how.method == "all_scan":
        return 2 * all_scan_cut.of_state(state, ranks, chip, how.wire, how.blocks)[1]
    memory = 2 * sent.total / chip.hbm_bandwidth
    if state.transition == "dense":
        arrived = sent.total / (4 * state.rows * state.k * (state.k + state.v))
        product = 2 * state.rows * state.k**2 * (state.k + state.v)
        memory += arrived * FULL_FLOAT32 * product / chip.flops
    if how.method in ("all_gather", "hierarchical"):
        one = sent.total / sum(n - 1 for n in levels(how, ranks))  # a state each way
        return memory + sum(
            2 * far * HOP + one * load / chip.link
            for far, load in _gathers(how, chip, torus, whole)
        )
    each = sent.total / sent.steps
    return memory + sum(
        2 * far * (HOP + each / chip.link) for far in _permutations(how, ranks, chip, torus)
    )


def _gathers(
    how: Exchange, chip: Hardware, torus: tuple[int, ...], whole: bool
) -> Iterator[tuple[int, float]]:
    """Hops of each level, and states through its busiest link."""
    if how.method == "hierarchical":
        for size in torus:
            yield hops(chip, size), (size - 1) / links(chip, size)
        return
    twice = 2 if whole and becomes_all_reduce(chip, math.prod(torus), torus) else 1
    lanes = sum(links(chip, size) for size in torus)
    yield sum(hops(chip, size) for size in torus), twice * (math.prod(torus) - 1) / lanes


def _permutations(
    how: Exchange, ranks: int, chip: Hardware, torus: tuple[int, ...]
) -> Iterator[int]:
    """Links that each permutation of the forward pass crosses."""
    if how.method == "ring":
        yield from (1 for _ in range(ranks - 1))
        return
    yield distance(1, chip, torus)
    places = 1
    while places < ranks - 1:
        yield distance(places, chip, torus)
        places *= 2


def becomes_all_reduce(chip: Hardware, ranks: int, torus: tuple[int, ...]) -> bool:
    """Whether the compiler makes an all-reduce of a gather over all devices of the slice.

    torus: with or without a dimension of its own for the devices of a chip.
    """
    return chip.name in ("v5p", "tpu7x") and len(torus) >= chip.dimensions and ranks >= 64


def _reason(best: Estimate, second: Estimate, ranks: int, chip: Hardware, devices: int) -> str:
    text = (
        f"{ranks} ranks on {chip.name}: {_words(best)} a layer, forward and backward; next "
        f"{second.how.method}, {_words(second)}"
    )
    if best.how.method == "hierarchical":
        sizes = " x ".join(map(str, best.how.factors or ()))
        text += f"; one gather for each torus dimension ({sizes})"
    if devices == ranks and becomes_all_reduce(chip, ranks, guess_torus(chip, ranks)):
        text += f"; {chip.name} turns a gather over the whole torus into an all-reduce"
    return text


def _words(estimate: Estimate) -> str:
    mib = estimate.traffic.total / MIB
    return f"{mib:.1f} MiB in {estimate.traffic.steps} steps, {estimate.seconds * 1e3:.2f} ms"


def _unknown(ranks: int, state: State, kind: str, wire: str | None) -> Choice:
    """Without a model of the links: few steps while the bytes are few."""
    plain = Exchange("all_gather", None, wire)
    level = Exchange("hierarchical", None, wire)
    sent = traffic(plain, ranks, state)
    how = plain if ranks <= 16 else level
    return Choice(
        how,
        f"no model of the links of {kind!r}: {how.method}, as the usual choice for {ranks} ranks "
        f"({traffic(how, ranks, state).total / MIB:.1f} MiB a layer; all_gather "
        f"{sent.total / MIB:.1f})",
    )


def settle(how: Exchange, summary: Summary, ranks: int) -> Exchange:
    """`how` with a method: "auto" chosen for a summary (of two axes or more in its transition) on
    the chip and mesh that the computation is traced for."""
    mesh = jax.sharding.get_abstract_mesh()
    found = choose(
        ranks, state_of(summary), target().kind, devices=max(mesh.size, ranks), wire=how.wire
    )
    return found.how


def state_of(summary: Summary) -> State:
    """The `State` of a summary's arrays, or of their shapes."""
    m, e = summary
    if e.ndim == 2:
        return State(math.prod(e.shape), 1, 1, "key")
    *rows, k, v = e.shape
    kinds: dict[int, Transition] = {1: "shared", 2: "head", 3: "key", 4: "dense"}
    return State(math.prod(rows), k, v, "none" if m is None else kinds[m.ndim])
