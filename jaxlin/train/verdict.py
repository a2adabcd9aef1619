"""A forecast in one paragraph: whether it fits, what bounds it, what to change."""

from __future__ import annotations

from jaxlin.config.run import RunConfig
from jaxlin.parallel.census import Row
from jaxlin.parallel.topology import Slice, axis_sizes
from jaxlin.train.forecast import Forecast

GIB = 2**30
LEAST_TOKENS = 2048  # of a device: below, weights travel more than they multiply


def verdict(found: Forecast, cfg: RunConfig, where: Slice) -> str:
    """The paragraph."""
    peak, hbm = found.memory.peak / GIB, found.memory.hbm / GIB
    if not found.fits:
        return (
            f"Does not fit: a device would need at least {peak:.1f} GiB of the {hbm:.0f} GiB of a "
            f"{where.chip.name}. {_less_memory(found, cfg, where)}"
        )
    text = f"Fits: {peak:.1f} of {hbm:.0f} GiB of HBM ({100 * peak / hbm:.0f} %)."
    if found.prediction is None:
        return text
    p = found.prediction
    text += (
        f" A step takes at least {p.step * 1e3:.1f} ms ({found.tokens / p.step:,.0f} tokens a "
        f"second, MFU at most {100 * p.mfu:.0f} %), bound by {p.bound}: compute "
        f"{p.compute * 1e3:.1f}, HBM {p.memory * 1e3:.1f}, collectives {p.in_flight * 1e3:.1f} in "
        f"flight and {p.exposed * 1e3:.1f} exposed (ms). "
    )
    return text + _faster(found, cfg, where)


def _less_memory(found: Forecast, cfg: RunConfig, where: Slice) -> str:
    held = found.memory.parameters + found.memory.optimizer
    wider = [n for n in axis_sizes(where) if n > found.mesh["fsdp"]]
    if held > found.memory.hbm / 3 and wider:
        return (
            f"Parameters and optimizer alone are {held / GIB:.1f} GiB: split them with "
            f"mesh.fsdp={wider[0]}."
        )
    if cfg.model.remat in ("none", "dots"):
        return "Keep fewer activations: model.remat=mixer, or full."
    rows = cfg.batch // (found.mesh["data"] * found.mesh["fsdp"] * cfg.accumulate)
    if rows > 1:
        return f"A device holds {rows} rows at a time: try accumulate={cfg.accumulate * 2}."
    if cfg.context > 8192 and found.mesh["seq"] < where.devices:
        longer = [n for n in axis_sizes(where) if n > found.mesh["seq"]]
        return f"Split the sequence with mesh.seq={longer[0]}." if longer else ""
    return "Take a larger slice, or a smaller batch, context or model."


def _faster(found: Forecast, cfg: RunConfig, where: Slice) -> str:
    """One advice, on what takes the most."""
    p = found.prediction
    assert p is not None and found.rows is not None
    even = found.ideal_flops + found.kernel_flops
    if found.flops and found.flops > 1.2 * even:
        return (
            f"Devices repeat each other's products: {found.flops / 1e12:.1f} TFLOP where "
            f"{even / 1e12:.1f} would do if every axis of the mesh split all of them."
        )
    if p.bound in ("exposed collectives", "collectives in flight"):
        rows = [row for row in found.rows if row.in_flight == (p.bound != "exposed collectives")]
        return _fewer_bytes(rows[0], found, cfg, where) if rows else ""
    if p.bound == "HBM":
        return (
            "More tokens a device read the same weights: raise batch or context if memory allows."
        )
    if cfg.model.remat != "none" and found.memory.peak < found.memory.hbm / 2:
        return "Half of the memory is free: model.remat=none computes nothing twice."
    return "Nothing to change: the products of the model are what takes the time."


def _fewer_bytes(row: Row, found: Forecast, cfg: RunConfig, where: Slice) -> str:
    what = (
        f"Most bytes: {row.kind} along {row.axis}, {row.source}, {row.bytes / 2**20:,.0f} MiB in "
        f"{row.count}. "
    )
    if "cross_entropy" in row.source:
        return what + (
            f"Every chunk of the loss sends them: raise loss.chunk, which is {cfg.loss.chunk:,} of "
            f"the {found.tokens // found.devices:,} tokens that a device has in a step."
        )
    first = row.axis.split("+")[0]
    smaller = [n for n in axis_sizes(where) if n < found.mesh.get(first, 1)]
    tokens = found.tokens // found.devices
    if "seq" in row.axis:
        return what + "Try another mesh.exchange, or fewer devices along mesh.seq."
    if "tensor" in row.axis and smaller:
        return what + f"Try mesh.tensor={smaller[-1]}."
    more = f" (a device has {tokens:,} tokens a step)"
    if row.kind == "all-gather" and smaller:
        return what + f"Try mesh.{first}={smaller[-1]}, or more tokens a device{more}."
    return what + f"More tokens a device would hide them{more}."
