"""What the memory of recurrent layers does on a batch: decays, half-lives, gates, norms of states.

A mixer takes part by what it shows; the names are listed in jaxlin.mixers.base.
"""

from __future__ import annotations

import math
import re
from functools import partial
from itertools import accumulate
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from jaxlin.config.model import LM
from jaxlin.config.pattern import resolve, segments
from jaxlin.data.batch import Batch
from jaxlin.nn import observed
from jaxlin.parallel.mesh import tracing_on
from jaxlin.parallel.paths import flatten

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
Summary = dict[str, Array]


@partial(jax.jit, static_argnames=("model", "mesh"))
def observe(
    model: nn.Module, variables: Any, batch: Batch, mesh: jax.sharding.Mesh | None = None
) -> dict[str, dict[str, Summary]]:
    """Path of what is shown -> quantity -> summary, each with the axis of stacked layers in front.

    Runs the model once, as `token_losses` does; the variables are left as they are. Empty when no
    mixer shows anything.
    """
    inputs = (batch.tokens, batch.segment_ids, batch.positions)
    with tracing_on(mesh):
        _, seen = model.apply(variables, *inputs, mutable=["taps"])
    real = jnp.asarray(batch.weights) > 0
    found = {
        path: jax.vmap(partial(SHOWN[name], real=real))(values)
        for path, values in flatten(observed(seen) if seen else {}).items()
        if (name := path.rpartition("/")[2]) in SHOWN
    }
    if mesh is None:
        return found
    return jax.lax.with_sharding_constraint(found, NamedSharding(mesh, PartitionSpec()))


def statistics(
    model: Any, variables: Any, batch: Batch, mesh: jax.sharding.Mesh | None = None
) -> dict[str, Any]:
    """Depth ("0", "1", ...) -> {"mixer": kind, quantity: {"mean": ..., "q05": ..., ...}, ...}.

    Quantities: decay a = exp(log_decay); half_life = ln 2 / -log_decay in tokens, infinite where
    nothing decays; write_strength; output_gate; state_norm, the Frobenius norm of a head's state
    after the last token. Quantiles are values that occur, over all real tokens, heads and channels.
    """
    found = jax.device_get(observe(model, variables, batch, mesh))
    return by_depth(model.config, found)


def by_depth(config: LM, found: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """The statistics with the scans over depth unfolded, in the order of depth."""
    parts = segments(resolve(config))
    starts = [0, *accumulate(len(part.unit) * part.repeats for part in parts)]
    layers: dict[int, dict[str, Any]] = {}
    for path, quantities in found.items():
        place = re.match(r"blocks_(\d+)/layer_(\d+)/", path)
        if place is None:
            continue  # shown outside the layers
        part, inner = int(place[1]), int(place[2])
        unit = parts[part].unit
        for repeat in range(parts[part].repeats):
            depth = starts[part] + repeat * len(unit) + inner
            layer = layers.setdefault(depth, {"mixer": unit[inner].kind})
            for quantity, summary in quantities.items():
                layer[quantity] = {name: _plain(v[repeat]) for name, v in summary.items()}
    return {str(depth): layers[depth] for depth in sorted(layers)}


def summarize(x: Float[Array, "*shape"], real: Bool[Array, "*batch"]) -> Summary:
    """mean, min, max and quantiles where `real`, which has x's first axes; a NaN makes mean NaN."""
    x = x.astype(jnp.float32)
    mask = jnp.broadcast_to(real.reshape(*real.shape, *[1] * (x.ndim - real.ndim)), x.shape)
    levels = jnp.asarray(list(QUANTILES.values()), jnp.float32)
    # No interpolation: between a finite and an infinite half-life there is nothing.
    points = jnp.nanquantile(jnp.where(mask, x, jnp.nan), levels, method="lower")
    return {
        "mean": jnp.mean(x, where=mask),
        "min": jnp.min(x, where=mask, initial=jnp.inf),
        "max": jnp.max(x, where=mask, initial=-jnp.inf),
        **dict(zip(QUANTILES, points, strict=True)),
    }


def half_life(log_decay: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Tokens after which half of the state is left: ln 2 / -log_decay; infinite at 0."""
    return math.log(2) / jnp.abs(log_decay.astype(jnp.float32))  # -0 would give -inf


def state_norm(state: Float[Array, "b h *shape"]) -> Float[Array, "b h"]:
    """sqrt(sum of squares) of each head's state."""
    return jnp.sqrt(jnp.sum(state.astype(jnp.float32) ** 2, axis=tuple(range(2, state.ndim))))


def _decays(x: Array, real: Array) -> dict[str, Summary]:
    real = real if x.ndim > 1 else jnp.ones((), bool)  # the same for all tokens
    lives = summarize(half_life(x), real)
    del lives["mean"]  # a mean of times that may be infinite says nothing
    return {"decay": summarize(jnp.exp(x), real), "half_life": lives}


SHOWN = {
    "log_decay": _decays,
    "write_strength": lambda x, real: {"write_strength": summarize(x, real)},
    "output_gate": lambda x, real: {"output_gate": summarize(x, real)},
    # A row that ends in padding has no state at its end.
    "final_state": lambda x, real: {"state_norm": summarize(state_norm(x), real[:, -1])},
}


def _plain(value: Any) -> float | None:
    """A number of six digits; None where JSON has none."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
