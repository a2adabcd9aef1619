"""What a TPU kernel costs, read from its compiled program without running it.

A bundle takes a cycle at least, so bundles / clock is a lower bound of the time of a grid step;
waits for HBM and stalls are not in it.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax

from kernels_pallas.static.calls import Block, Call, pallas_calls
from kernels_pallas.static.chips import generation, tracing_for
from kernels_pallas.static.compiling import ENVIRONMENT, require_libtpu

BUNDLE_BYTES = 64  # by which the code of a program grows with each bundle, on every chip of CHIPS


class CompileError(RuntimeError):
    """The TPU compiler refused a program."""


class KernelCost(NamedTuple):
    """Figures of one Pallas kernel on one chip.

    bundles are those of the whole program, in which every branch of the kernel's body stands once,
    with the loop over the grid around it. use: share of the slots that are taken, of mxu (matrix
    products), valu, xlu (across lanes), eup (exp and the like), load, store. fills and spills:
    vector registers loaded back from and put aside to VMEM. vmem: bytes of scratch, spills and
    blocks with their double buffers. hbm: bytes of all block copies of the grid; hbm_least: every
    operand and result once (operands that stay in HBM count once in both). code: bytes of the
    program.
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
        self.timeout = timeout
        self.folder = tempfile.TemporaryDirectory(prefix="tpu-costs-")
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Costs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()
        self.folder.cleanup()

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
        found = self.compile(text, chip)
        return [
            cost(call, chip, program)
            for call, program in pair(calls, found)
            if kernels is None or call.name in kernels
        ]

    def compile(self, text: str, chip: str) -> dict[str, Any]:
        """Has the process compile a StableHLO module; what it read in the dump."""
        module = Path(self.folder.name) / "module.mlir"
        module.write_text(text)
        found = self.ask({"chip": chip, "module": str(module)})
        if "error" in found:
            raise CompileError(f"{chip}: {' '.join(found['error'].split())}")
        return found

    def ask(self, job: dict[str, str]) -> dict[str, Any]:
        process = self.process or self.start()
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(self.timeout):
                self.stop()
                raise CompileError(f"{job['chip']}: compiling took more than {self.timeout:g} s")
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.stop()
            raise CompileError(
                f"{job['chip']}: the compiler died with exit code {code}: {self.log()}"
            )
        return json.loads(line)

    def start(self) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | ENVIRONMENT
        programs = Path(self.folder.name) / "programs"
        programs.mkdir(exist_ok=True)
        with (Path(self.folder.name) / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kernels_pallas.static.worker", str(programs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        return self.process

    def stop(self) -> None:
        """Ends the process; the next program starts another."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()

    def log(self) -> str:
        return (Path(self.folder.name) / "log").read_text()[-2000:]


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
        if not own:
            raise CompileError(
                f"the compiler's dump has no program of the kernel {call.name}, only of "
                f"{', '.join(programs)}"
            )
        at = next(i for i, c in enumerate(mine) if c is call)
        pairs.append((call, programs[own[min(at, len(own) - 1)][1]]))
    return pairs


def cost(call: Call, chip: str, program: dict[str, Any]) -> KernelCost:
    bundles, slots, capacity = program["bundles"], program["slots"], program["capacity"]
    shares = ("mxu", "valu", "xlu", "eup", "load", "store")
    return KernelCost(
        name=call.name,
        chip=chip,
        bundles=bundles,
        use={name: slots[name] / (capacity[name] * bundles) for name in shares},
        fills=slots["fill"],
        spills=slots["spill"],
        vmem=program.get("vmem", 0),
        hbm=sum(block.moved for block in call.blocks),
        hbm_least=sum(block.least for block in call.blocks),
        code=BUNDLE_BYTES * bundles,
        grid=call.grid,
        blocks=call.blocks,
    )
