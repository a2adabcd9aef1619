"""Learning-rate schedules: step -> multiplier of the peak, for steps 0 ... steps-1.

All start with a linear warm-up, (step + 1) / warmup for step < warmup: the first step already
trains, and the peak is reached at step warmup - 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlin.config.registry import schedules

Schedule = Callable[[Any], Float[Array, ""]]


def build(config: Any, steps: int) -> Schedule:
    """The schedule of a config for a run of `steps` steps."""
    return schedules.target(config.kind)(config, steps)


def constant(config: Any, steps: int) -> Schedule:
    """1 after the warm-up."""
    return _warm(config.warmup, lambda step: jnp.ones_like(step))


def cosine(config: Any, steps: int) -> Schedule:
    """final + (1 - final) (1 + cos(pi p)) / 2 with p from 0 at step `warmup` to 1 at the last."""

    def after(step: Array) -> Array:
        progress = _progress(step, config.warmup, steps - 1)
        return config.final + (1 - config.final) * 0.5 * (1 + jnp.cos(jnp.pi * progress))

    return _warm(config.warmup, after)


def wsd(config: Any, steps: int) -> Schedule:
    """1, then over the last `decay` of all steps down to `final`.

    linear: 1 - (1 - final) p; sqrt: 1 - (1 - final) sqrt(p) (Hägele et al. 2024, arXiv 2405.18392);
    p from 0 at the last stable step to 1 at the last step.
    """
    stable = steps - 1 - round(config.decay * steps)

    def after(step: Array) -> Array:
        progress = _progress(step, max(stable, config.warmup - 1), steps - 1)
        progress = jnp.sqrt(progress) if config.shape == "sqrt" else progress
        return 1 - (1 - config.final) * progress

    return _warm(config.warmup, after)


def _progress(step: Array, start: int, end: int) -> Array:
    return jnp.clip((step - start) / max(1, end - start), 0.0, 1.0)


def _warm(warmup: int, after: Callable[[Array], Array]) -> Schedule:
    def multiplier(step: Any) -> Array:
        step = jnp.asarray(step, jnp.float32)
        return jnp.where(step < warmup, (step + 1) / max(1, warmup), after(step))

    return multiplier
