"""The two kernels of the family: their grids, blocks and what stays on chip between steps.

Grid of the forward pass: (batch, blocks of heads, groups of chunks, chunks); the state stays in
the block of the final state, and the state before each group goes to memory. The backward pass
visits a group twice: from its state it recomputes those before the chunks, then goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from kernels_pallas.tpu import chunk as rule
from kernels_pallas.tpu.decay import HeadDecay, KeyDecay, NoDecay, Weights
from kernels_pallas.tpu.patterns import patterns
from kernels_pallas.tpu.products import Products
from kernels_pallas.tpu.rows import column, row


class Cut(NamedTuple):
    """How a sequence is cut: `groups` of `chunks` of `rows` tokens; `heads` a grid step."""

    heads: int
    groups: int
    chunks: int
    rows: int
    scale: float
    short: bool  # bfloat16 products
    interpret: Any
    vmem_bytes: int


class Tokens(NamedTuple):
    """Inputs along time, heads first, padded; numbers a token lie along the lanes."""

    q: Float[Array, "b h t k"]
    k: Float[Array, "b h t k"]
    v: Float[Array, "b h t v"]
    log_decay: Any  # [b, h, n, 1, c] (one a head), [b, h, t, k] (one a key) or None
    beta: Any  # [b, h, n, 1, c], or None: the additive rule


# (grid indices) -> (batch, block of heads, chunk)
Where = Callable[..., tuple[Any, Any, Any]]


def run_forward(
    cut: Cut, tokens: Tokens, initial: Float[Array, "b h v k"], keep: bool
) -> tuple[Array, ...]:
    """Outputs [b, h, t, v] and the final state; with `keep` also the state before each group
    [b, h, groups, v, k], for the backward pass."""
    b, h, t, _ = tokens.q.shape
    sums = _patterns(tokens, cut.rows)

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

        chunk = _read(prod, tokens, sums)
        entering = state[0]
        found = rule.forward(prod, chunk, entering)
        outputs = cut.scale * rule.outputs(prod, chunk, entering, found)
        out[0] = outputs.astype(out.dtype)
        state[0] = rule.advance(prod, chunk, entering, found.new)

    states = (*initial.shape[:2], cut.groups, *initial.shape[2:])
    group = _group_spec(cut, states, lambda b, h, g, j: g)
    outputs = [
        (_spec(cut, tokens.v, where), _like(tokens.v)),
        (_state_spec(cut, initial), _like(initial)),
        (group, _like(initial, states)),
    ]
    specs, shapes = zip(*outputs[: 3 if keep else 2], strict=True)
    return pl.pallas_call(
        kernel,
        grid=(b, h // cut.heads, cut.groups, cut.chunks),
        in_specs=[_specs(cut, tokens, where), _whole(sums), _state_spec(cut, initial)],
        out_specs=specs,
        out_shape=shapes,
        compiler_params=_params(cut, 2),
        interpret=cut.interpret,
        name=_name("forward", tokens),
    )(tokens, sums, initial)


def run_backward(
    cut: Cut, tokens: Tokens, before: Array, d_out: Array, d_final: Array
) -> tuple[Tokens, Array]:
    """Cotangents of the tokens and of the initial state. d_out [b, h, t, v], d_final [b, h, v, k]."""
    b, h, t, _ = tokens.q.shape
    sums = _patterns(tokens, cut.rows)
    last = cut.chunks - 1

    def first_of(g: Any) -> Any:
        return (cut.groups - 1 - g) * cut.chunks

    def both(b: Any, h: Any, g: Any, back: Any, j: Any) -> tuple[Any, Any, Any]:
        return b, h, first_of(g) + jnp.where(back == 1, last - j, j)

    def back_only(b: Any, h: Any, g: Any, back: Any, j: Any) -> tuple[Any, Any, Any]:
        # On the way forward the block waits at the chunk that the way back needs first.
        return b, h, first_of(g) + last - back * j

    def kernel(tokens, sums, before, d_out, d_final, grads, d_state, states, *inverses) -> None:
        prod = Products(cut.short)
        back, j = pl.program_id(3), pl.program_id(4)

        @pl.when((pl.program_id(2) == 0) & (back == 0) & (j == 0))
        def _start() -> None:
            d_state[0] = d_final[0]

        @pl.when((back == 0) & (j == 0))
        def _enter() -> None:
            states[0] = before[0, :, 0]

        @pl.when(back == 0)
        def _again() -> None:
            chunk = _read(prod, tokens, sums)._replace(q=None)
            if chunk.beta is not None:
                inverses[0][j] = rule.inverse(prod, chunk).astype(inverses[0].dtype)

            @pl.when(j < last)
            def _advance() -> None:
                entering, new = states[j], chunk.v
                if chunk.beta is not None:
                    new = rule.new_values(prod, chunk, entering, inverses[0][j])
                states[j + 1] = rule.advance(prod, chunk, entering, new)

        @pl.when(back == 1)
        def _back() -> None:
            chunk, entering = _read(prod, tokens, sums), states[last - j]
            known = None if chunk.beta is None else inverses[0][last - j]
            found = rule.forward(prod, chunk, entering, known)
            d = cut.scale * d_out[0].astype(jnp.float32)
            found_grads, d_state[0] = rule.backward(prod, chunk, entering, found, d, d_state[0])
            _write(grads, found_grads)

    scratch = [pltpu.VMEM((cut.chunks, cut.heads, *d_final.shape[2:]), jnp.float32)]
    if tokens.beta is not None:
        kind = jnp.bfloat16 if cut.short else jnp.float32
        scratch.append(pltpu.VMEM((cut.chunks, cut.heads, cut.rows, cut.rows), kind))
    group = _group_spec(cut, before.shape, lambda b, h, g, back, j: cut.groups - 1 - g)
    later = _specs(cut, tokens, back_only)
    return pl.pallas_call(
        kernel,
        grid=(b, h // cut.heads, cut.groups, 2, cut.chunks),
        in_specs=[
            _specs(cut, tokens, both)._replace(q=later.q),
            _whole(sums),
            group,
            _spec(cut, d_out, back_only),
            _state_spec(cut, d_final),
        ],
        out_specs=[later, _state_spec(cut, d_final)],
        out_shape=[jax.tree.map(_like, tokens), _like(d_final)],
        scratch_shapes=scratch,
        compiler_params=_params(cut, 3),
        interpret=cut.interpret,
        name=_name("backward", tokens),
    )(tokens, sums, before, d_out, d_final)


def _read(prod: Products, tokens: Any, sums: Any) -> rule.Chunk:
    q, k, v = (x[0] for x in tokens[:3])
    beta = None if tokens.beta is None else _as_column(tokens.beta[0, :, 0])
    return rule.Chunk(q, k, v, beta, _weights(prod, tokens.log_decay, sums))


def _weights(prod: Products, g: Any, sums: Any) -> Weights:
    if g is None:
        return NoDecay(prod)
    if len(g.shape) == 5:
        return HeadDecay(prod, g[0, :, 0], sums[0], sums[1])
    return KeyDecay(prod, g[0])


def _patterns(tokens: Tokens, rows: int) -> Array | None:
    g = tokens.log_decay
    return patterns(rows) if g is not None and g.ndim == 5 else None


def _whole(x: Array | None) -> pl.BlockSpec | None:
    if x is None:
        return None
    return pl.BlockSpec(x.shape, lambda *_: (0,) * x.ndim)


def _write(refs: Tokens, grads: rule.Gradients) -> None:
    for ref, x in zip(refs[:3], grads[:3], strict=True):
        ref[0] = x.astype(ref.dtype)
    if grads.beta is not None:
        refs.beta[0, :, 0] = _as_row(grads.beta)
    if grads.log_decay is not None:
        wide = len(refs.log_decay.shape) == 5
        refs.log_decay[(0, slice(None), 0) if wide else 0] = grads.log_decay


def _as_column(x: Float[Array, "h 1 c"]) -> Float[Array, "h c 1"]:
    shape = (x.shape[0], x.shape[2], x.shape[2])
    own = row(shape) == column(shape)
    return jnp.sum(jnp.where(own, jnp.broadcast_to(x, shape), 0), axis=2, keepdims=True)


def _as_row(x: Float[Array, "h c 1"]) -> Float[Array, "h 1 c"]:
    shape = (x.shape[0], x.shape[1], x.shape[1])
    own = row(shape) == column(shape)
    return jnp.sum(jnp.where(own, jnp.broadcast_to(x, shape), 0), axis=1, keepdims=True)


def _specs(cut: Cut, tokens: Tokens, where: Where) -> Tokens:
    return jax.tree.map(lambda x: _spec(cut, x, where), tokens)


def _spec(cut: Cut, x: Array, where: Where) -> pl.BlockSpec:
    """The block of one chunk of [b, h, t, x] or [b, h, n, 1, c]."""
    if x.ndim == 5:
        return pl.BlockSpec((1, cut.heads, 1, *x.shape[3:]), lambda *i: (*where(*i), 0, 0))
    return pl.BlockSpec((1, cut.heads, cut.rows, x.shape[3]), lambda *i: (*where(*i), 0))


def _state_spec(cut: Cut, state: Array) -> pl.BlockSpec:
    return pl.BlockSpec((1, cut.heads, *state.shape[2:]), lambda b, h, *_: (b, h, 0, 0))


def _group_spec(cut: Cut, shape: tuple[int, ...], group: Callable[..., Any]) -> pl.BlockSpec:
    block = (1, cut.heads, 1, *shape[3:])
    return pl.BlockSpec(block, lambda *i: (i[0], i[1], group(*i), 0, 0))


def _like(x: Array, shape: tuple[int, ...] | None = None) -> jax.ShapeDtypeStruct:
    """Inside `shard_map` an output varies over the axes that the inputs vary over."""
    kind = jax.typeof(x).manual_axis_type
    return jax.ShapeDtypeStruct(shape or x.shape, x.dtype, manual_axis_type=kind)


def _params(cut: Cut, sequential: int) -> pltpu.CompilerParams:
    semantics = ("parallel", "parallel") + ("arbitrary",) * sequential
    return pltpu.CompilerParams(
        dimension_semantics=semantics, vmem_limit_bytes=cut.vmem_bytes or None
    )


def _name(pass_: str, tokens: Tokens) -> str:
    decay = {0: "no_decay", 5: "head_decay", 4: "key_decay"}[getattr(tokens.log_decay, "ndim", 0)]
    return f"{'additive' if tokens.beta is None else 'delta'}_{decay}_{pass_}"
