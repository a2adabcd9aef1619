"""Which exchange each kind of layer would take on a mesh, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlin.config.pattern import resolve
from jaxlin.config.run import RunConfig
from jaxlin.mixers import build
from jaxlin.nn.linear import observed
from kernels_pallas.exchange import all_scan_cut
from kernels_pallas.exchange.choose import choose
from kernels_pallas.exchange.how import AUTO, Exchange
from kernels_pallas.exchange.softmax_traffic import softmax_traffic
from kernels_pallas.exchange.traffic import State, Transition, levels, traffic
from kernels_pallas.hardware import CHIPS


class Planned(NamedTuple):
    """One kind of layer: how many there are, the exchange, its bytes a layer, and the reason."""

    kind: str
    layers: int
    method: str
    bytes: int  # received by a device, forward and backward
    reason: str


def plan_exchange(cfg: RunConfig, mesh: Mapping[str, int], kind: str) -> list[Planned]:
    """One row a kind of mixer in the model; mesh: axis -> size; kind: device_kind."""
    layers: dict[Any, int] = {}
    for mixer in resolve(cfg.model):
        layers[mixer] = layers.get(mixer, 0) + 1
    return [_planned(cfg, mixer, count, mesh, kind) for mixer, count in layers.items()]


def _planned(
    cfg: RunConfig, mixer: Any, layers: int, mesh: Mapping[str, int], kind: str
) -> Planned:
    ranks = mesh["seq"]
    if ranks == 1:
        return Planned(mixer.kind, layers, "none", 0, "mesh.seq=1: no sequence is split")
    rows = cfg.batch // (mesh["data"] * mesh["fsdp"] * cfg.accumulate)
    state = state_of(mixer, cfg.model.width, rows, mesh["tensor"])
    if state is None:
        return _keys(cfg, mixer, layers, rows, mesh)
    asked = cfg.mesh.exchange
    wire = None if asked.wire == "float32" else asked.wire
    how, reason = choose(ranks, state, kind, devices=math.prod(mesh.values()), wire=wire)
    if asked.method != AUTO:
        reason = f"set by mesh.exchange.method; auto would take {how.method}: {reason}"
        how = Exchange(asked.method, asked.factors, how.wire)
    sent, name = traffic(how, ranks, state), how.method
    if how.method == "hierarchical":
        name += f" {'x'.join(map(str, levels(how, ranks)))}"
    if how.method == "all_scan" and kind in CHIPS:
        count, seconds = all_scan_cut.of_state(state, ranks, CHIPS[kind], how.wire)
        name += f" {count} blocks"
        reason = f"{2e3 * seconds:.2f} ms a layer predicted, not measured; {reason}"
    return Planned(mixer.kind, layers, name, sent.total, reason)


def _keys(cfg: RunConfig, mixer: Any, layers: int, rows: int, mesh: Mapping[str, int]) -> Planned:
    """Of a layer whose past is its keys and values."""
    size = mixer.head_dim or cfg.model.width // mixer.heads
    method, tensor = cfg.mesh.exchange.softmax, mesh["tensor"]
    sent = softmax_traffic(
        method,
        ranks=mesh["seq"],
        b=rows,
        t=cfg.context // mesh["seq"],
        h=mixer.heads // tensor,
        g=(mixer.kv_heads or mixer.heads) // tensor,
        k=size,
        v=size,
        itemsize=jnp.dtype(cfg.model.dtype).itemsize,
        window=mixer.window,
        segments=True,
    )
    reason = (
        "set by mesh.exchange.softmax; bytes grow with the context"
        if mixer.window is None
        else f"only the {mixer.window - 1} tokens before each slice travel"
    )
    return Planned(mixer.kind, layers, method, sum(sent), reason)


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
