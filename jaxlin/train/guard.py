"""The guard of a step: whether its update counts, and what is remembered for the steps to come.

All but `verdict` is traceable; nothing here waits for a device.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxlin.config.guard import RING, Guard, Spike
from jaxlin.train.state import GuardState, TrainState


def fresh() -> GuardState:
    """Before the first step."""
    zero = jnp.zeros((), jnp.int32)
    return GuardState(zero, zero, zero, zero, zero, losses=jnp.zeros(RING, jnp.float32))


def judge(
    rule: Guard, before: GuardState, measured: Mapping[str, Float[Array, ""]]
) -> tuple[Bool[Array, ""], GuardState, dict[str, Float[Array, ""]]]:
    """(whether the step's update is taken, state after it, metrics).

    It is not where anything `measured` (loss, norm of the gradient) is not finite, or where the
    loss is a spike and the rule does more than log it. A spike joins the losses that later ones are
    compared with: a lasting change of level is soon the new normal.
    """
    loss, finite = measured["loss"], jnp.isfinite(jnp.stack([*measured.values()])).all()
    metrics, good = {}, finite
    if rule.spike.action != "off":
        metrics["loss_limit"] = limit(rule.spike, before)
    if rule.spike.action not in ("off", "log"):
        good = finite & (loss <= metrics["loss_limit"])
    after = dataclasses.replace(
        before,
        skipped=before.skipped + jnp.logical_not(good),
        in_row=jnp.where(good, 0, before.in_row + 1),
        seen=before.seen + finite,
        losses=before.losses.at[before.seen % RING].set(
            jnp.where(finite, loss, before.losses[before.seen % RING])
        ),
    )
    counts = {"skipped": after.skipped, "skipped_in_row": after.in_row, "rewinds": after.rewinds}
    return good, after, metrics | {k: n.astype(jnp.float32) for k, n in counts.items()}


def limit(rule: Spike, state: GuardState) -> Float[Array, ""]:
    """mean + sigmas * std of the last `window` losses; infinite before there are so many."""
    age = (state.seen - 1 - jnp.arange(RING)) % RING
    recent = age < rule.window
    mean = jnp.mean(state.losses, where=recent)
    std = jnp.std(state.losses, where=recent)
    return jnp.where(state.seen >= rule.window, mean + rule.sigmas * std, jnp.inf)


def keep(good: Bool[Array, ""], after: Any, before: Any) -> Any:
    """`after` where the update is good, else `before`, bit for bit."""
    return jax.tree.map(lambda a, b: jax.lax.select(good, a, b), after, before)


def rewound(restored: TrainState, past: GuardState, bad: int) -> TrainState:
    """`restored`, going on with the batch after the one of step `bad`; `past`: the guard until it.

    Step s takes batch s - 1 + offset. Batches restored.step + offset ... bad - 1 + offset, by the
    offset until now, are never seen again.
    """
    offset = past.offset + (bad - restored.step)
    guard = dataclasses.replace(restored.guard, offset=offset, rewinds=past.rewinds + 1)
    return dataclasses.replace(restored, guard=guard)


def rewind_to(kept: Sequence[int], every: int, bad: int) -> int:
    """The step to go back to from step `bad`, among the `kept` checkpoints; 0: the start.

    The last multiple of `every`: a run that was stopped, and saved, in between goes back to the
    same step. Where it is not kept (saving by time crowded it out), the newest one.
    """
    regular = (bad - 1) // every * every
    if not regular or regular in kept:
        return regular
    return max((step for step in kept if step < bad), default=0)


@jax.jit
def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether no leaf holds NaN or infinity."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


class Event(NamedTuple):
    """What the guard does about a step: an action of the rule, and why. Then its counts."""

    step: int
    action: str
    reason: str
    skipped: int
    in_row: int
    rewinds: int


def verdict(rule: Guard, step: int, values: Mapping[str, float]) -> Event | None:
    """What a step's metrics, on the host, ask for; None: it was a step like any other."""
    loss, highest = values["loss"], values.get("loss_limit", math.inf)
    measured = {k: values[k] for k in ("loss", "z_loss", "grad_norm") if k in values}
    wrong = [f"{name} {value}" for name, value in measured.items() if not math.isfinite(value)]
    counts = [int(values[name]) for name in ("skipped", "skipped_in_row", "rewinds")]
    if wrong:
        return Event(step, rule.nonfinite, ", ".join(wrong), *counts)
    if loss > highest:
        spike = f"loss {loss:.4f} is above {highest:.4f}, mean + {rule.spike.sigmas:g} std of the "
        why = f"{spike}{rule.spike.window} before"
        return Event(step, rule.spike.action, why, *counts)
    return None
