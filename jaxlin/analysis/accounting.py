"""What a model costs: parameters, FLOPs a token and bytes a sequence, from shapes alone.

FLOPs: of matrix products and convolutions, multiply and add count one each; what is elementwise
(norms, gates, the recurrence of HGRN) counts nothing. They are counted in the traced program of
each part, as this platform would run it: causal attention without a kernel forms all pairs, chunked
ops recompute in the backward pass what they do recompute. Rematerialisation of blocks is left out.

`study`: the hybrid study's own model of its mixers (arXiv 2507.06457, Pareto plots).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlin.config.errors import ConfigError
from jaxlin.config.model import LM
from jaxlin.config.pattern import resolve
from jaxlin.config.placement import layout
from jaxlin.config.run import RunConfig
from jaxlin.mixers import build as build_mixer
from jaxlin.mixers import init_cache, rows
from jaxlin.models.lm import build
from jaxlin.nn import SwiGLU
from jaxlin.parallel.paths import flatten
from jaxlin.parallel.products import products

PARTS = {"embed": "embedding", "unembed": "embedding", "mixer": "mixers", "ffn": "ffn"}
Number = int | float
STUDY = {"retnet": 5, "gla": 7, "hgrn2": 7, "deltanet": 8, "gated_deltanet": 8}  # times d^2 / H


def accounting(cfg: RunConfig, context: int) -> dict[str, Any]:
    """Costs as JSON values; `cfg.model.vocab` has to be set.

    study_mixer_flops_per_token: of all mixers, forward; None where a layer is of a kind that the
        study has not.
    forward_flops_per_token, backward_flops_per_token: the whole model's, mean over a sequence of
        `context` tokens; flops: the same by part.
    kv_bytes: of the cache of a sequence at `context` tokens what grows with it; state_bytes: the
        rest. parameters: by part, and all.
    """
    model = cfg.model
    found = flops(model, context)
    total = {way: sum(part[way] for part in found.values()) for way in ("forward", "backward")}
    return {
        "context": context,
        "study_mixer_flops_per_token": study_flops(model, context),
        "forward_flops_per_token": total["forward"],
        **sequence_bytes(model, context),
        "backward_flops_per_token": total["backward"],
        "parameters": parameters(model),
        "flops": found,
        "layout": layout(resolve(model)),
    }


def parameters(model: LM) -> dict[str, int]:
    """Exact counts: embedding (with the head), mixers (with what they share over the depth), ffn,
    norms (of blocks and the last; those inside of a mixer are the mixer's), total."""
    tokens = jax.ShapeDtypeStruct((1, 8), jnp.int32)
    shapes = jax.eval_shape(build(model).init, jax.random.key(0), tokens)["params"]
    found: dict[str, int] = dict.fromkeys(("embedding", "mixers", "ffn", "norms"), 0)
    for path, leaf in flatten(nn.meta.unbox(shapes)).items():
        found[_part(path)] += math.prod(leaf.shape)
    return {**found, "total": sum(found.values())}


def _part(path: str) -> str:
    words = path.split("/")
    if words[0] == "depth":
        return "mixers"
    name = words[2] if words[0].startswith("blocks_") else words[0]
    return PARTS.get(name, "norms")


def sequence_bytes(model: LM, length: int) -> dict[str, int]:
    """kv_bytes and state_bytes of a sequence of so many tokens, over all layers."""
    found = {"kv_bytes": 0, "state_bytes": 0}
    for mixer, count in Counter(resolve(model)).items():
        for kind, size in cache_bytes(mixer, model, length).items():
            found[f"{kind}_bytes"] += count * size
    return found


def cache_bytes(mixer: Any, model: LM, length: int) -> dict[str, int]:
    """Bytes of one layer's cache of a sequence: `kv`, of arrays that grow with it, and `state`."""
    dtype = jnp.dtype(model.dtype)

    def leaves(n: int) -> list[Any]:
        return jax.tree.leaves(jax.eval_shape(lambda: init_cache(mixer, model.width, 1, n, dtype)))

    found = {"kv": 0, "state": 0}
    for one, two, leaf in zip(leaves(1), leaves(2), leaves(length), strict=True):
        kind = "state" if one.shape == two.shape else "kv"
        found[kind] += math.prod(leaf.shape) * leaf.dtype.itemsize
    return found


def flops(model: LM, context: int) -> dict[str, dict[str, Number]]:
    """Part (a kind of mixer, ffn, head) -> {"layers", "forward", "backward"}, a token's FLOPs of
    all its layers."""
    if model.vocab is None:
        raise ConfigError("model.vocab: not set; give a number or take the tokenizer's size")
    x = jax.ShapeDtypeStruct((1, context, model.width), jnp.dtype(model.dtype))
    found: dict[str, dict[str, Number]] = {}
    for mixer, count in Counter(resolve(model)).items():
        part = found.setdefault(mixer.kind, {"layers": 0, "forward": 0, "backward": 0})
        _add(part, count, _mixer_flops(mixer, model, x))
    ffn = SwiGLU(model.ffn.width(model.width), x.dtype, name="ffn")
    part = found["ffn"] = {"layers": 0, "forward": 0, "backward": 0}
    _add(part, model.layers, _counted(ffn, x))
    # logits = x W and, backward, dx = dy W^T and dW = x^T dy
    head = 2 * model.width * model.vocab
    found["head"] = {"layers": 1, "forward": head, "backward": 2 * head}
    return found


def _add(part: dict[str, Number], layers: int, counted: tuple[Number, Number]) -> None:
    part["layers"] += layers
    for way, value in zip(("forward", "backward"), counted, strict=True):
        part[way] += layers * value


def _mixer_flops(mixer: Any, model: LM, x: Any) -> tuple[Number, Number]:
    module = build_mixer(mixer, model.width, dtype=x.dtype)
    row = _row(mixer, model)
    given = {} if row is None else {"depth": row}
    return _counted(module, x, lambda found: found[0], **given)


def _row(mixer: Any, model: LM) -> Any:
    """What the mixer is told of its depth, as zeros."""

    def zeros(name: str, init: Any, axes: Any, shape: tuple[int, ...]) -> jax.Array:
        return jnp.zeros((model.layers, *shape))

    table = jax.eval_shape(lambda: rows(mixer, model.width, model.layers, zeros))
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), table)


def _counted(
    module: nn.Module, x: Any, pick: Callable[[Any], Any] = lambda y: y, **given: Any
) -> tuple[Number, Number]:
    """(forward, backward) FLOPs a token."""
    shapes = nn.meta.unbox(
        jax.eval_shape(lambda: module.init(jax.random.key(0), _like(x), **given))
    )

    def forward(variables: Any, x: Any) -> Any:
        return pick(module.apply(variables, x, **given))

    def both(variables: Any, x: Any) -> Any:
        y, back = jax.vjp(forward, variables, x)
        return back(y)

    there, whole = (_total(jax.make_jaxpr(f)(shapes, x)) for f in (forward, both))
    return there / x.shape[1], (whole - there) / x.shape[1]


def _like(x: Any) -> jax.Array:
    return jnp.zeros(x.shape, x.dtype)


def _total(jaxpr: Any) -> int:
    found = products(jaxpr, 1)
    return found.plain + found.kernels


def study_flops(model: LM, context: int) -> Number | None:
    """The study's FLOPs a token of all mixers, forward (see STUDY)."""
    found = [study_mixer_flops(mixer, model.width, context) for mixer in resolve(model)]
    return None if None in found else sum(f for f in found if f is not None)


def study_mixer_flops(mixer: Any, width: int, context: int) -> Number | None:
    """Of one layer. softmax 2 T d; hgrn 5 d; retnet 5 d^2/H; gla, hgrn2 7 d^2/H; deltanet,
    gated_deltanet 8 d^2/H. None for other kinds, and for attention within a window."""
    if mixer.kind == "softmax":
        return None if mixer.window is not None else 2 * context * width
    if mixer.kind == "hgrn":
        return 5 * width
    factor = STUDY.get(mixer.kind)
    return None if factor is None else factor * width**2 / mixer.heads
