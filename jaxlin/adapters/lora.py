"""LoRA: trainable low-rank deltas at chosen weight sites (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxlin.adapters.lowrank import LowRank
from jaxlin.adapters.sites import leaf_at, matching, weight_sites
from jaxlin.config.adapters.lora import LoRA


def attach(config: LoRA, params: Mapping[str, Any], key: Array) -> dict[tuple[str, ...], LowRank]:
    """A ~ U(-1/sqrt(inputs), 1/sqrt(inputs)), B = 0, at every leaf with a matching site.

    Rows of a stacked leaf that do not match get A = B = 0: they stay exactly zero, since each
    factor's gradient is a multiple of the other.
    """
    sites = matching(config.at, weight_sites(params), f"adapters: {config.name}: at")
    rows: dict[tuple[str, ...], list[int | None]] = {}
    for site in sites:
        rows.setdefault(site.path, []).append(site.row)
    keys = jax.random.split(key, len(rows))
    return {
        path: _init(config, leaf_at(params, path), rows[path], k)
        for path, k in zip(sorted(rows), keys, strict=True)
    }


def _init(config: LoRA, weight: Any, rows: list[int | None], key: Array) -> LowRank:
    *layers, inputs, outputs = weight.shape
    bound = inputs**-0.5
    shape = (*layers, inputs, config.rank)
    a = jax.random.uniform(key, shape, jnp.float32, -bound, bound)
    if layers:
        wanted = jnp.zeros(layers, bool).at[jnp.array(rows)].set(True)
        a = jnp.where(wanted[:, None, None], a, 0)
    b = jnp.zeros((*layers, config.rank, outputs), jnp.float32)
    return LowRank(a, b, config.alpha / config.rank)
