"""Which exchange each kind of layer would take on a mesh, and why."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlin.config.pattern import resolve
from jaxlin.config.run import RunConfig
from jaxlin.mixers import build
from jaxlin.nn.linear import observed
from jaxlin.parallel.topology import Span
from kernels_pallas.exchange.api import Exchange
from kernels_pallas.exchange.choose import MIB, choose
from kernels_pallas.exchange.traffic import State, Transition, traffic


class Planned(NamedTuple):
    """One kind of layer: how many there are, the exchange, its bytes a layer, and the reason."""

    kind: str
    layers: int
    method: str
    bytes: int  # received by a device, forward and backward
    reason: str


def plan_exchange(cfg: RunConfig, mesh: Any, places: Any, kind: str) -> list[Planned]:
    """One row a kind of mixer in the model.

    mesh: axis -> size; places: axis -> its `Span` on the torus; kind: device_kind.
    """
    layers: dict[Any, int] = {}
    for mixer in resolve(cfg.model):
        layers[mixer] = layers.get(mixer, 0) + 1
    rows = cfg.batch // (mesh["data"] * mesh["fsdp"] * cfg.accumulate)
    return [
        _planned(cfg, mixer, count, rows, mesh, places["seq"], kind)
        for mixer, count in layers.items()
    ]


def _planned(
    cfg: RunConfig, mixer: Any, layers: int, rows: int, mesh: Any, span: Span, kind: str
) -> Planned:
    state = state_of(mixer, cfg.model.width, rows, mesh["tensor"])
    if span.ranks == 1:
        return Planned(mixer.kind, layers, "none", 0, "mesh.seq=1: no sequence is split")
    if state is None:
        return Planned(*_keys(cfg, mixer, layers, rows, mesh, span.ranks))
    asked = getattr(cfg.mesh, "exchange", None)
    wire = None if asked is None or asked.wire == "float32" else asked.wire
    found = choose(span.ranks, state, kind, torus=span.torus, whole=span.whole, wire=wire)
    how, reason = found
    if asked is not None and asked.method != "auto":
        how = Exchange(asked.method, asked.factors, how.wire)
        reason = f"set by mesh.exchange.method; auto would take {found.how.method}: {reason}"
    factors = f" {'x'.join(map(str, how.factors))}" if how.factors else ""
    sent = traffic(how, span.ranks, state)
    return Planned(mixer.kind, layers, how.method + factors, sent.total, reason)


def _keys(
    cfg: RunConfig, mixer: Any, layers: int, rows: int, mesh: Any, ranks: int
) -> tuple[str, int, str, int, str]:
    """Of a layer whose past is its keys and values, gathered along the sequence."""
    heads = mixer.kv_heads or mixer.heads
    size = mixer.head_dim or cfg.model.width // mixer.heads
    width = 2 if cfg.model.dtype == "bfloat16" else 4
    held = rows * cfg.context * max(1, heads // mesh["tensor"]) * size * 2 * width
    sent = 2 * (ranks - 1) * held // ranks
    asked = getattr(cfg.mesh, "exchange", None)
    method = getattr(asked, "softmax", "all_gather")
    reason = (
        f"keys and values of {cfg.context} tokens in {heads} heads: a gather of them receives "
        f"{sent / MIB:.1f} MiB with the gradients, and grows with the context"
    )
    return mixer.kind, layers, method, sent, reason


def state_of(mixer: Any, width: int, rows: int, tensor: int) -> State | None:
    """What one device holds of a mixer's state; None where its past is no state.

    Read from what the mixer shows (jaxlin.mixers.base), traced on a few tokens.
    """
    seen = _shown(mixer, width)
    state = seen.get("final_state")
    if state is None:
        return None
    _, *heads, k, v = state.shape if len(state.shape) == 4 else (*state.shape, 1, 1)
    count = rows * math.prod(heads) // tensor
    return State(max(1, count), k, v, transition_of(seen, heads=len(state.shape) == 4))


def transition_of(seen: Any, heads: bool) -> Transition:
    """A delta rule multiplies by matrices; else the decay tells."""
    if "write_strength" in seen:
        return "dense"
    decay = seen.get("log_decay")
    if decay is None:
        return "none"
    axes = len(decay.shape)
    return "key" if not heads or axes == 4 else "head" if axes == 3 else "shared"


def _shown(mixer: Any, width: int) -> dict[str, Any]:
    module = build(mixer, width, dtype=jnp.float32)
    x = jax.ShapeDtypeStruct((1, 8, width), jnp.float32)

    def run(x: Any) -> Any:
        variables = module.init(jax.random.key(0), x)
        _, taps = module.apply(variables, x, mutable=["taps"])
        return observed(taps) if "taps" in taps else {}

    found = jax.eval_shape(run, x)
    return {name: leaf for name, leaf in found.items() if not isinstance(leaf, dict)}
