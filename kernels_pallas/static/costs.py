"""What a TPU kernel costs, read from its compiled program without running it.

A bundle takes a cycle at least, so bundles / clock is a lower bound of the time of a grid step;
waits for HBM and stalls are not in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, NamedTuple

import jax

from kernels_pallas.static.calls import Block, Call, pallas_calls
from kernels_pallas.static.chips import generation, tracing_for
from kernels_pallas.static.compiling import require_libtpu
from kernels_pallas.static.process import CompileError, Compiler

BUNDLE_BYTES = 64  # by which the code of a program grows with each bundle, on every chip of CHIPS


class KernelCost(NamedTuple):
    """Figures of one Pallas kernel on one chip.

    bundles: those of a grid step, with every branch of the kernel's body once, its loops as often
    as they run, and what stands before and after the loop over the grid. use: share of their slots
    that are taken, of mxu (matrix products), valu, xlu (across lanes), eup (exp and the like),
    load, store. fills and spills: vector registers loaded back from and put aside to VMEM in them.
    vmem: bytes of scratch, spills and blocks with their double buffers. hbm: bytes of all block
    copies of the grid; hbm_least: every operand and result once (operands that stay in HBM count
    once in both). code: bytes of the program.
    """

    name: str
    chip: str
    bundles: int
    use: dict[str, float]
    fills: int
    spills: int
    vmem: int
    hbm: int
    hbm_least: int
    code: int
    grid: tuple[int, ...]
    blocks: tuple[Block, ...]


def static_cost(
    f: Callable[..., Any],
    specs: tuple[Any, ...],
    chip: str,
    kernels: Collection[str] | None = None,
) -> list[KernelCost]:
    """Costs of the Pallas kernels in `f(*specs)` on `chip`, in program order.

    kernels: names (`pallas_call(name=...)`) to keep; None keeps all. Starts a process for the
    compiler; many programs share one with `Costs`.

    Raises:
        LibtpuMissing: no TPU compiler; says what to install.
        CompileError: it refused the program.
        ValueError: an unknown chip, or no kernel has one of the names.
    """
    with Costs() as costs:
        return costs(f, specs, chip, kernels)


class Costs:
    """`static_cost` for many programs, with one process that compiles: `with Costs() as costs`."""

    def __init__(self, timeout: float = 600.0) -> None:
        """timeout: seconds that one program may compile."""
        self.compiler = Compiler(timeout)

    def __enter__(self) -> Costs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self.compiler.close()

    def __call__(
        self,
        f: Callable[..., Any],
        specs: tuple[Any, ...],
        chip: str,
        kernels: Collection[str] | None = None,
    ) -> list[KernelCost]:
        """See `static_cost`."""
        require_libtpu()
        generation(chip)
        with tracing_for(chip):
            traced = jax.jit(f).trace(*specs)
            text = named(traced.lower(lowering_platforms=("tpu",)).as_text())
        calls = pallas_calls(traced.jaxpr)
        absent = set(kernels or ()) - {call.name for call in calls}
        if absent:
            there = ", ".join(sorted({call.name for call in calls})) or "none"
            raise ValueError(
                f"static_cost: no Pallas kernel is named {', '.join(sorted(absent))}; "
                f"kernels of the program: {there}"
            )
        found = self.compiler.compile(text, chip)
        return [
            cost(call, chip, program)
            for call, program in pair(calls, found)
            if kernels is None or call.name in kernels
        ]


def named(text: str) -> str:
    """StableHLO text whose kernels are called by their names alone in the compiled program.

    XLA names an instruction by its location, of which jax makes transpose(jvp(NAME)) and the like.
    """
    lines = []
    for line in text.splitlines():
        call = re.search(r'custom_call @tpu_custom_call\(.*kernel_name = "([^"]+)"', line)
        lines.append(f'{line} loc("jit(f)/{call[1]}/pallas_call")' if call else line)
    return "\n".join(lines)


def pair(calls: list[Call], programs: dict[str, Any]) -> list[tuple[Call, dict[str, Any]]]:
    """Each call with its compiled program: NAME or NAME.7, numbered in program order."""
    pairs = []
    for call in calls:
        mine = [c for c in calls if c.name == call.name]
        own = sorted(
            (int(match[1] or 0), name)
            for name in programs
            if (match := re.fullmatch(rf"{re.escape(call.name)}(?:\.(\d+))?", name))
        )
        if not own or any("vmem" not in programs[name] for _, name in own):
            raise CompileError(
                f"the compiler's dump has no program or VMEM of the kernel {call.name}, only of "
                f"{', '.join(programs)}"
            )
        at = next(i for i, c in enumerate(mine) if c is call)
        pairs.append((call, programs[own[min(at, len(own) - 1)][1]]))
    return pairs


def cost(call: Call, chip: str, program: dict[str, Any]) -> KernelCost:
    parts, capacity = program["parts"], program["capacity"]
    times = runs(call, parts)
    bundles = sum(n * part["bundles"] for n, part in zip(times, parts, strict=True))
    slots = {
        name: sum(n * part["slots"][name] for n, part in zip(times, parts, strict=True))
        for name in capacity
    }
    shares = ("mxu", "valu", "xlu", "eup", "load", "store")
    return KernelCost(
        name=call.name,
        chip=chip,
        bundles=bundles,
        use={name: slots[name] / (capacity[name] * bundles) for name in shares},
        fills=slots["fill"],
        spills=slots["spill"],
        vmem=program["vmem"],
        hbm=sum(block.moved for block in call.blocks),
        hbm_least=sum(block.least for block in call.blocks),
        code=BUNDLE_BYTES * sum(part["bundles"] for part in parts),
        grid=call.grid,
        blocks=call.blocks,
    )


def runs(call: Call, parts: list[dict[str, Any]]) -> list[int]:
    """How often each part of a program runs in a grid step.

    Part 0 is outside of all loops; the first loop is that over the grid, if there is one.
    """
    around = 2 if math.prod(call.grid) > 1 else 1
    trips = call.trips
    if len(parts) != around + len(trips) or None in trips:
        raise CompileError(
            f"{call.name}: its program has {len(parts) - around} loops, its body says how often "
            f"{sum(n is not None for n in trips)} of {len(trips)} run: their bundles cannot be "
            "counted"
        )
    found: list[int] = []
    for part, n in zip(parts, [1] * around + [n or 0 for n in trips], strict=True):
        found.append(n * (1 if part["parent"] is None else found[part["parent"]]))
    return found
