"""From counts to seconds: a roofline of the chip, and links for the collectives.

    busy    = max(FLOPs / peak, HBM bytes / HBM bandwidth)
    step    = max(busy, collectives in flight) + exposed collectives
    one     = count * (hops * HOP + bytes received / (links * link bandwidth))
    MFU     = 6 * parameters that multiply * tokens / (step * devices * peak)

Links of an axis: those of every torus dimension that it runs over, two where its ends are joined. A
permutation over d links has one link, and d times the bytes; an all-to-all sends on average a
quarter round the largest dimension. An all-scan passes n blocks from neighbour to neighbour,
(ranks - 2 + n) of them one after the other. Nothing reaches its peak, so that a step takes longer
than predicted: what the figures are good for is comparing meshes, and seeing what bounds a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jaxlin.parallel.census import Collective
from jaxlin.parallel.remote import SCAN
from jaxlin.parallel.topology import Span
from kernels_pallas.hardware import HOP, Hardware, distance, hops, links


class Prediction(NamedTuple):
    """Seconds of a step of one device."""

    compute: float
    memory: float
    in_flight: float  # collectives that overlap
    exposed: float
    mfu: float
    hfu: float  # of all FLOPs that run, also those of recomputation

    @property
    def busy(self) -> float:
        return max(self.compute, self.memory)

    @property
    def step(self) -> float:
        return max(self.busy, self.in_flight) + self.exposed

    @property
    def bound(self) -> str:
        """What takes the most: 'compute', 'HBM', 'collectives in flight', 'exposed collectives'."""
        parts = {
            "compute": self.compute,
            "HBM": self.memory,
            "collectives in flight": self.in_flight,
            "exposed collectives": self.exposed,
        }
        return max(parts, key=lambda name: parts[name])


def predict(
    flops: int,
    hbm: int,
    collectives: Iterable[Collective],
    useful: float,
    chip: Hardware,
    places: Mapping[str, Span],
) -> Prediction:
    """flops, hbm, useful (6 N T): of one device and step."""
    hidden = exposed = 0.0
    for one in collectives:
        taken = one.count * seconds(one, chip, places)
        hidden += taken * one.in_flight
        exposed += taken * (not one.in_flight)
    found = Prediction(flops / chip.flops, hbm / chip.hbm_bandwidth, hidden, exposed, 0.0, 0.0)
    peak = found.step * chip.flops
    return found._replace(mfu=useful / peak, hfu=flops / peak)


def seconds(one: Collective, chip: Hardware, places: Mapping[str, Span]) -> float:
    """Of one run of a collective."""
    torus = tuple(
        size for axis in one.axis.split("+") if axis in places for size in places[axis].torus
    )
    if one.ranks == 1 or not torus:
        return 0.0
    if one.kind == SCAN:
        # The first block over all hops, and the others behind it.
        return (one.ranks - 2 + one.blocks) * (HOP + one.bytes / one.blocks / chip.link)
    if one.kind == "collective-permute":
        far = distance(one.places, chip, torus)
        return far * (HOP + one.bytes / chip.link)
    load = one.bytes / (chip.link * sum(links(chip, size) for size in torus))
    if one.kind == "all-to-all":
        load *= max(1.0, max(torus) / 4)
    return sum(hops(chip, size) for size in torus) * HOP + load
