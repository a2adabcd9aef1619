"""The forward kernel: one chunk a grid step, the state in the block of the final state.

Grid: (batch, blocks of heads, groups of chunks, chunks).
"""

from __future__ import annotations

from typing import Any

import jax
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from kernels_pallas.tpu import chunk as rule
from kernels_pallas.tpu.chunk_io import read, sums_of
from kernels_pallas.tpu.grid import (
    Cut,
    Tokens,
    group_spec,
    like,
    name,
    params,
    spec,
    specs,
    state_spec,
    turns,
    whole,
)
from kernels_pallas.tpu.products import Products


def run_forward(
    cut: Cut, tokens: Tokens, initial: Float[Array, "b h v k"], keep: bool
) -> tuple[Array, ...]:
    """Outputs [b, h, t, v] and the final state; with `keep` also the state before each group
    [b, h, groups, v, k], for the backward pass."""
    b, h, _, _ = tokens.q.shape
    sums = sums_of(tokens, cut.rows)

    def where(b: Any, h: Any, g: Any, j: Any) -> tuple[Any, Any, Any]:
        return b, h, g * cut.chunks + j

    def kernel(tokens: Tokens, sums: Any, initial: Any, out: Any, state: Any, *before: Any) -> None:
        prod = Products(cut.short)

        @pl.when((pl.program_id(2) == 0) & (pl.program_id(3) == 0))
        def _start() -> None:
            state[0] = initial[0]

        if keep:

            @pl.when(pl.program_id(3) == 0)
            def _keep() -> None:
                before[0][0, :, 0] = state[0]

        for heads in turns(cut, tokens, 2):
            chunk, entering = read(prod, tokens, sums, heads), state[0, heads]
            found = rule.forward(prod, chunk, entering)
            found_out = cut.scale * rule.outputs(prod, chunk, entering, found)
            out[0, heads] = found_out.astype(out.dtype)
            state[0, heads] = rule.advance(prod, chunk, entering, found.new)

    kept = (*initial.shape[:2], cut.groups, *initial.shape[2:])
    results = [
        (spec(cut, tokens.v, where), like(tokens.v)),
        (state_spec(cut, initial), like(initial)),
        (group_spec(cut, kept, lambda b, h, g, j: g), like(initial, kept)),
    ][: 3 if keep else 2]
    call = pl.pallas_call(
        kernel,
        grid=(b, h // cut.heads, cut.groups, cut.chunks),
        in_specs=[specs(cut, tokens, where), jax.tree.map(whole, sums), state_spec(cut, initial)],
        out_specs=[block for block, _ in results],
        out_shape=[shape for _, shape in results],
        compiler_params=params(cut, sequential=2),
        interpret=cut.interpret,
        name=name("forward", tokens),
    )
    return tuple(call(tokens, sums, initial))
