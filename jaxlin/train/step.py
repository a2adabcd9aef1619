"""One training step: loss, gradient over micro-batches, update, averages, metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Num

from jaxlin.config.model import Loss
from jaxlin.data.batch import Batch
from jaxlin.parallel.options import compiler_options
from jaxlin.parallel.rules import batch_sharding
from jaxlin.train import tokens
from jaxlin.train.guard import judge, keep
from jaxlin.train.plan import Plan
from jaxlin.train.state import STEP, TrainState, collections, key

Metrics = dict[str, Num[Array, ""]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_step(plan: Plan, mesh: jax.sharding.Mesh) -> Step:
    """(state, batch) -> (state, metrics), compiled; the given state is used up.

    Metrics (float32 scalars): loss (nats per token), grad_norm (before clipping), lr, z_loss where
    it has a weight, the guard's counts, and loss_limit where it watches for spikes; also batch
    (uint32), the digest of the tokens. A step that the guard refuses leaves parameters, optimizer
    and average as they were, and so its schedule.
    """
    shardings = plan.shardings(mesh)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        with jax.sharding.use_abstract_mesh(
            mesh.abstract_mesh
        ):  # kernels run on every device's part
            return train_step(plan, shardings, state, batch)

    return jax.jit(
        step,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())),
        donate_argnums=0,
        compiler_options=compiler_options(mesh.devices.flat[0].device_kind) or None,
    )


def train_step(
    plan: Plan, shardings: TrainState, state: TrainState, batch: Any, seed: Any = None
) -> tuple[TrainState, Metrics]:
    """The step as a pure function. `seed`: uint32 [], in place of the config's."""
    cfg, schedule, optimizer = plan.cfg, plan.schedule, plan.optimizer.transform
    step_key = key(cfg.seed if seed is None else seed, STEP, state.step)
    grads, sums = gradient(plan, state, batch, step_key)
    grads = jax.lax.with_sharding_constraint(grads, shardings.trained)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.trained)
    trained = optax.apply_updates(state.trained, updates)
    ema = average(cfg.ema, state.ema, trained)
    metrics = sums | {
        "grad_norm": optax.tree.norm(grads),
        "lr": cfg.optim.lr * schedule(state.step - state.guard.skipped),
    }
    good, guard, counts = judge(cfg.guard, state.guard, metrics)
    trained, opt_state, ema = keep(
        good, (trained, opt_state, ema), (state.trained, state.opt_state, state.ema)
    )
    after = dataclasses.replace(
        state.with_trained(trained),
        step=state.step + 1,
        opt_state=opt_state,
        ema=ema,
        guard=guard,
    )
    return after, metrics | counts | {"batch": tokens.digest(batch.tokens)}


def gradient(
    plan: Plan, state: TrainState, batch: Any, step_key: Array
) -> tuple[Any, dict[str, Array]]:
    """Gradient and loss terms of the whole batch, one micro-batch at a time.

    The batch's token count is known beforehand, so that each micro-batch gives its share of the
    mean over the batch, and shares simply add up.
    """
    total = batch.weights.sum()
    cfg = plan.cfg

    def share(trained: Any, micro: Any, micro_key: Array) -> tuple[Array, dict[str, Array]]:
        variables = _variables(state, trained)
        return loss(plan.model, variables, micro, cfg.loss, total, {"dropout": micro_key})

    grad = jax.grad(share, has_aux=True)
    if cfg.accumulate == 1:
        return grad(state.trained, batch, step_key)

    def add(sums: Any, step: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, grad(state.trained, *step)), None

    steps = _micro_batches(batch, cfg.accumulate), jax.random.split(step_key, cfg.accumulate)
    first = jax.eval_shape(grad, state.trained, *jax.tree.map(lambda a: a[0], steps))
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), first)
    return jax.lax.scan(add, zeros, steps)[0]


def loss(
    model: nn.Module, variables: Any, batch: Any, cfg: Loss, total: Array, rngs: Any
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """sum(w nll) / total + z sum(w lse^2) / total over the batch's tokens, and both terms."""
    hidden, _ = model.apply(
        variables, batch.tokens, segment_ids=batch.segment_ids, positions=batch.positions, rngs=rngs
    )
    found = model.apply(
        variables, hidden, batch.targets, cfg.chunk, method="cross_entropy", rngs=rngs
    )
    nll, lse = cast(tuple[Array, Array], found)
    terms = {"loss": jnp.sum(batch.weights * nll) / total}
    if cfg.z:
        terms["z_loss"] = cfg.z * jnp.sum(batch.weights * lse**2) / total
    return jnp.sum(jnp.stack([*terms.values()])), terms


def average(decay: float | None, ema: Any, tree: Any) -> Any:
    """decay * ema + (1 - decay) * tree; None where no average is kept."""
    if decay is None:
        return None
    return jax.tree.map(lambda e, x: decay * e + (1 - decay) * x, ema, tree)


def _variables(state: TrainState, trained: Any) -> dict[str, Any]:
    with_trained = state.with_trained(trained)
    return collections(with_trained.params, with_trained.adapters)


def _micro_batches(batch: Any, count: int) -> Any:
    """[b, t] -> [count, b / count, t]; row i goes to micro-batch i mod count, so that the rows of
    every micro-batch are spread over the devices as those of the batch are."""
    return jax.tree.map(
        lambda a: a.reshape(a.shape[0] // count, count, *a.shape[1:]).swapaxes(0, 1), batch
    )
