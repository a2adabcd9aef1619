"""Judges of block sizes: scheduled bundles of the compiled kernels, or time on the device here."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.static import CHIPS, CompileError, Costs, KernelCost
from kernels_pallas.tune.programs import draw, inputs_of, run_blocks, with_gradients

Blocks = Mapping[str, int]


class Trial(NamedTuple):
    """How candidate `blocks` did: less is better; infinite where they do not work, with why."""

    blocks: Blocks
    score: float
    words: str


# (module, call, chip, blocks) -> trial
Judge = Callable[[Any, Call, Chip, Blocks], Trial]


def by_bundles(costs: Costs) -> Judge:
    """Bundles a token, forward and backward, of programs that the TPU compiler accepts.

    It refuses what does not fit VMEM.
    """

    def judge(module: Any, call: Call, chip: Chip, blocks: Blocks) -> Trial:
        name = next(name for name, known in CHIPS.items() if known.kind == chip.kind)
        f, specs = with_gradients(run_blocks(module, call, chip, blocks), inputs_of(call, chip))
        try:
            found = costs(f, specs, name)
        except (CompileError, ValueError, NotImplementedError) as error:
            return Trial(blocks, math.inf, f"refused: {shorten(str(error))}")
        per_token = [bundles_per_token(cost) for cost in found]
        parts = " + ".join(f"{n:.2f}" for n in per_token)
        vmem = max(cost.vmem for cost in found) / 2**20
        return Trial(blocks, sum(per_token), f"bundles a token {parts}, VMEM {vmem:.1f} MiB")

    return judge


def by_time(rounds: int = 20) -> Judge:
    """Median time of forward and backward on the default device, in ms."""

    def judge(module: Any, call: Call, chip: Chip, blocks: Blocks) -> Trial:
        f, specs = with_gradients(run_blocks(module, call, chip, blocks), inputs_of(call, chip))
        try:
            run = jax.jit(f)
            arrays = jax.block_until_ready(draw(*specs))
            jax.block_until_ready(run(*arrays))
            ms = 1e3 * statistics.median(seconds(run, arrays) for _ in range(rounds))
        except (RuntimeError, ValueError, NotImplementedError) as error:
            return Trial(blocks, math.inf, f"refused: {shorten(str(error))}")
        return Trial(blocks, ms, f"{ms:.3f} ms")

    return judge


def seconds(run: Callable, arrays: tuple) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(run(*arrays))
    return time.perf_counter() - begin


def tokens_per_step(cost: KernelCost) -> float:
    """Tokens of one head (or of 128 channels) that one grid step works on.

    Its largest operand has a row for each: [1, heads, rows, k], or [1, rows, channels] in blocks.
    """
    largest = max(cost.blocks, key=lambda block: math.prod(block.array))
    return math.prod(largest.shape) / largest.array[-1]


def bundles_per_token(cost: KernelCost) -> float:
    """Scheduled bundles over the tokens of a grid step.

    A kernel that visits a chunk twice has the program of both visits, so that this counts both.
    """
    return cost.bundles / tokens_per_step(cost)


def shorten(text: str, width: int = 160) -> str:
    """One line; of the compiler's report on VMEM the sentence with the sizes."""
    text = " ".join(text.split())
    at = text.find("Scoped allocation")
    text = text[at:] if at >= 0 else text
    return text if len(text) <= width else text[: width - 3] + "..."
