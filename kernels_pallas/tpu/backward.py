"""The backward kernel: every group of chunks is visited twice, the groups in reverse.

Grid: (batch, blocks of heads, groups, 2, chunks). On the way forward through a group it computes
the states before its chunks from the one that was kept (and the inverses of the delta rule); on
the way back the gradients.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from kernels_pallas.tpu import chunk as rule
from kernels_pallas.tpu.chunk_io import read, read_to_advance, sums_of, write
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
from kernels_pallas.tpu.key_weights import Room
from kernels_pallas.tpu.products import Products


def run_backward(
    cut: Cut,
    tokens: Tokens,
    before: Float[Array, "b h groups v k"],
    d_out: Float[Array, "b h t v"],
    d_final: Float[Array, "b h v k"],
) -> tuple[Tokens, Array]:
    """Cotangents of the tokens and of the initial state."""
    b, h, _, _ = tokens.q.shape
    sums, last = sums_of(tokens, cut.rows), cut.chunks - 1

    def first_of(g: Any) -> Any:
        return (cut.groups - 1 - g) * cut.chunks

    def both_ways(b: Any, h: Any, g: Any, back: Any, j: Any) -> tuple[Any, Any, Any]:
        return b, h, first_of(g) + jnp.where(back == 1, last - j, j)

    def on_the_way_back(b: Any, h: Any, g: Any, back: Any, j: Any) -> tuple[Any, Any, Any]:
        # On the way forward the block waits at the chunk that the way back needs first.
        return b, h, first_of(g) + last - back * j

    def kernel(tokens, sums, before, d_out, d_final, grads, d_state, states, *more) -> None:
        prod = Products(cut.short)
        inverses: tuple[Any, ...] = more if tokens.beta is not None else ()
        room = Room(*more) if more and not inverses else None
        back, j = pl.program_id(3), pl.program_id(4)

        @pl.when((pl.program_id(2) == 0) & (back == 0) & (j == 0))
        def _start() -> None:
            d_state[0] = d_final[0]

        @pl.when((back == 0) & (j == 0))
        def _enter() -> None:
            states[0] = before[0, :, 0]

        @pl.when(back == 0)
        def _forward() -> None:
            chunk = None
            if tokens.beta is not None:
                chunk = read(prod, tokens, sums)
                inverses[0][j] = rule.inverse(prod, chunk).astype(inverses[0].dtype)

            @pl.when(j < last)
            def _advance() -> None:
                known = chunk or read_to_advance(prod, tokens, sums)
                entering, new = states[j], known.v
                if known.beta is not None:
                    new = rule.new_values(prod, known, entering, inverses[0][j])
                states[j + 1] = rule.advance(prod, known, entering, new)

        @pl.when(back == 1)
        def _back() -> None:
            for heads in turns(cut, tokens, cut.together):
                chunk, entering = read(prod, tokens, sums, heads, room), states[last - j, heads]
                known = None if chunk.beta is None else inverses[0][last - j, heads]
                d = cut.scale * d_out[0, heads].astype(jnp.float32)
                gradients, d_entering = rule.backward(
                    prod, chunk, entering, known, d, d_state[0, heads]
                )
                d_state[0, heads] = d_entering
                write(grads, gradients, heads)

    scratch: list[Any] = [pltpu.VMEM((cut.chunks, cut.heads, *d_final.shape[2:]), jnp.float32)]
    if tokens.beta is not None:
        kind = jnp.bfloat16 if cut.short else jnp.float32
        scratch.append(pltpu.VMEM((cut.chunks, cut.heads, cut.rows, cut.rows), kind))
    elif tokens.log_decay is not None and tokens.log_decay.ndim == 4:
        scratch += Room.of(cut.heads, cut.rows, tokens.q.shape[3])
    late = specs(cut, tokens, on_the_way_back)
    return pl.pallas_call(
        kernel,
        grid=(b, h // cut.heads, cut.groups, 2, cut.chunks),
        in_specs=[
            specs(cut, tokens, both_ways)._replace(q=late.q),
            jax.tree.map(whole, sums),
            group_spec(cut, before.shape, lambda b, h, g, back, j: cut.groups - 1 - g),
            spec(cut, d_out, on_the_way_back),
            state_spec(cut, d_final),
        ],
        out_specs=[late, state_spec(cut, d_final)],
        out_shape=[jax.tree.map(like, tokens), like(d_final)],
        scratch_shapes=scratch,
        compiler_params=params(cut, sequential=3),
        interpret=cut.interpret,
        name=name("backward", tokens),
    )(tokens, sums, before, d_out, d_final)
