"""What the study compiles: one layer's op, forward and backward, on a slice.

Sizes of every layer: batch 1, 16 heads of 128, bfloat16 inputs, float32 states: 1 MiB a device.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

from kernels_pallas.exchange import METHODS
from kernels_pallas.exchange.how import Exchange
from kernels_pallas.exchange.softmax_traffic import softmax_traffic
from kernels_pallas.exchange.traffic import State, Transition, traffic

HEADS, SIZE = 16, 128  # of a head: key and value alike

# Exchanges of linear layers that are compiled on every slice of v5e and v5p. Another one of
# kernels_pallas.exchange.METHODS joins the study by its name.
LINEAR = ("all_gather", "hierarchical", "log_step", "ring", "all_scan")
# Exchanges whose cycles are wanted: the compiler must generate the code, which takes its time.
WITH_CYCLES = ("all_gather", "hierarchical", "log_step", "all_scan")

SHORT, LONG = 8192, 65536  # tokens a device
V5E = ("v5e:2x4", "v5e:4x4", "v5e:4x8", "v5e:8x8", "v5e:8x16", "v5e:16x16")
V5P = (
    "v5p:2x2x2", "v5p:2x2x4", "v5p:2x4x4", "v5p:4x4x4", "v5p:4x4x8", "v5p:4x8x8", "v5p:8x8x8",
)  # fmt: skip
SOME_V5E, SOME_V5P = (V5E[0], V5E[3], V5E[-1]), (V5P[0], V5P[3], V5P[-1])
TPU7X = ("tpu7x:2x2x4", "tpu7x:4x4x4")
V6E = ("v6e:4x4", "v6e:16x16")

Layer = Literal["linear", "delta", "softmax"]


class Point(NamedTuple):
    """One layer on one slice.

    layer: linear attention, the delta rule with a decay a head (dense transition), or softmax
        attention. method: of `exchange`, or of `softmax_attention_across`.
    tokens: of a device. implementation: of the op within a slice. transition: how linear attention
        decays, "shared" being a number a head that all devices know.
    factors, wire: of `Exchange`; factors None: the dimensions of the torus.
    kv_heads: of softmax attention. cycles: also generate the code, for the compiler's estimate.
    """

    topology: str
    layer: Layer
    method: str
    tokens: int = SHORT
    implementation: str = "xla"
    transition: Transition = "head"
    factors: tuple[int, ...] | None = None
    wire: str | None = None
    kv_heads: int = HEADS
    cycles: bool = False

    @property
    def id(self) -> str:
        """All but `cycles`, what is usual left out."""
        words = [self.topology, self.layer, self.method, str(self.tokens)]
        words += ["x".join(map(str, self.factors))] if self.factors else []
        for name in ("implementation", "transition", "wire", "kv_heads"):
            value = getattr(self, name)
            words += [str(value)] if value != self._field_defaults[name] else []
        return " ".join(words)

    @property
    def chip(self) -> str:
        return self.topology.partition(":")[0]


def points() -> list[Point]:
    """The study, what takes longest last: code takes ten times as long as a schedule."""
    found = [*_weak_scaling(), *_others(), *_kernels(), *_variants(), *_softmax(), *_dense()]
    return sorted(found, key=lambda point: (point.cycles, point.tokens))


def _weak_scaling() -> Iterator[Point]:
    """At 65,536 tokens on some slices alone: bytes do not depend on the length, as these show."""
    for topology, method in itertools.product(V5E + V5P, LINEAR):
        yield Point(topology, "linear", method, cycles=_wants_cycles(topology, method))
    for topology, method in itertools.product((*SOME_V5E, V5P[0], V5P[-1]), LINEAR):
        cycles = method == "hierarchical" and topology in (V5E[0], V5E[-1])
        yield Point(topology, "linear", method, LONG, cycles=cycles)


def _wants_cycles(topology: str, method: str) -> bool:
    """For gathers on the smallest slice, the largest, and some between; else on those two."""
    if method not in WITH_CYCLES:
        return False
    ends = (V5E[0], V5E[-1], V5P[0], V5P[-1])
    gathers = method in ("all_gather", "hierarchical")
    return topology in ends or gathers and topology in ("v5e:4x4", "v5e:8x8", "v5p:4x4x4")


def _dense() -> Iterator[Point]:
    for topology, method in itertools.product(SOME_V5E, ("all_gather", "hierarchical")):
        yield Point(topology, "delta", method)


def _softmax() -> Iterator[Point]:
    """Ulysses on 32 devices stays in: the refusal is a result. Keys of all devices are gathered for
    comparison, at the shorter length."""
    for topology in (*V5E, *SOME_V5P):
        yield Point(topology, "softmax", "ring")
    for topology in V5E[:3] + V5P[:3]:
        yield Point(topology, "softmax", "ulysses")
    for topology in SOME_V5E:
        yield Point(topology, "softmax", "ring", LONG)
        yield Point(topology, "softmax", "all_gather")
        yield Point(topology, "softmax", "all_gather", kv_heads=4)
        yield Point(topology, "softmax", "ring", kv_heads=4)
    for topology in V5E[:2]:
        yield Point(topology, "softmax", "ulysses", LONG)


def _others() -> Iterator[Point]:
    yield Point("tpu7x:2x4x4", "linear", "all_gather")  # 64 devices: where gathers change
    for topology, method in itertools.product(TPU7X + V6E, ("all_gather", "hierarchical")):
        yield Point(topology, "linear", method)


def _kernels() -> Iterator[Point]:
    """The op within a slice as a Pallas kernel, as it runs on a TPU: it changes what there is to
    compute while states travel."""
    slices = (V5E[0], V5E[-1], V5P[3], *TPU7X)
    for topology, method in itertools.product(slices, ("all_gather", "hierarchical")):
        yield Point(topology, "linear", method, implementation="pallas_tpu")


def _variants() -> Iterator[Point]:
    """Other ways to fewer bytes on the largest slices; cycles where no decays travel."""
    v5e = Point(V5E[-1], "linear", "hierarchical")
    for topology in (V5E[0], V5E[-1]):
        yield Point(topology, "linear", "hierarchical", transition="shared", cycles=True)
    yield v5e._replace(wire="bfloat16")
    yield v5e._replace(factors=(4, 4, 4, 4))
    v5p = Point(V5P[-1], "linear", "hierarchical")
    yield v5p._replace(factors=(8, 64))
    yield v5p._replace(factors=(16, 32))
    yield v5p._replace(wire="bfloat16")


def by_formula(point: Point, ranks: int, torus: tuple[int, ...]) -> int:
    """Bytes that a device receives, forward and backward, without compiling.

    torus: the dimensions that the devices lie on, the slowest varying first.
    Raises ValueError: the layer has no such exchange.
    """
    if point.layer == "softmax":
        sent = softmax_traffic(
            point.method, ranks=ranks, b=1, t=point.tokens, h=HEADS, g=point.kv_heads, k=SIZE,
            v=SIZE, itemsize=2,
        )  # fmt: skip
        return sum(sent)
    if point.method not in METHODS:
        raise ValueError(f"points: no exchange {point.method!r}; wanted of {', '.join(METHODS)}")
    transition: Transition = "dense" if point.layer == "delta" else point.transition
    state = State(HEADS, SIZE, SIZE, transition)
    return traffic(how(point, torus), ranks, state).total


def how(point: Point, torus: tuple[int, ...]) -> Exchange:
    """The exchange of a linear layer: hierarchical ones gather along one dimension of the torus
    after the other, unless the point has its own factors."""
    factors = point.factors or tuple(reversed(torus))
    return Exchange(point.method, factors if point.method == "hierarchical" else None, point.wire)
