"""What a run knows after a step: everything that decides the steps to come."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax
from jaxtyping import Array


@flax.struct.dataclass
class GuardState:
    """What the guard remembers: int32 [], but for the losses."""

    skipped: Any  # updates left out
    in_row: Any  # of them, those after the last update
    offset: Any  # the next step takes batch `step + offset`: rewinds passed over so many
    rewinds: Any
    seen: Any  # finite losses so far
    losses: Any  # float32 [RING], the newest of them at (seen - 1) mod RING


@flax.struct.dataclass
class TrainState:
    """`adapters`: None, or what is trained in place of `params`. `ema`: the average of what is
    trained, or None. `guard`: None only where a model is used, not trained."""

    step: Any  # steps done, int32 []; also shapes, specs and shardings come as a state
    params: Any
    adapters: Any
    opt_state: Any
    ema: Any
    guard: GuardState | Any = None

    @property
    def trained(self) -> Any:
        """The tree that gradients flow into."""
        return self.params if self.adapters is None else self.adapters

    def with_trained(self, tree: Any) -> TrainState:
        """The state with another trained tree."""
        field = "params" if self.adapters is None else "adapters"
        return dataclasses.replace(self, **{field: tree})

    def variables(self) -> dict[str, Any]:
        """The collections to use the model with: averaged weights where an EMA is kept."""
        state = self if self.ema is None else self.with_trained(self.ema)
        return collections(state.params, state.adapters)


def collections(params: Any, adapters: Any) -> dict[str, Any]:
    """Variable collections of a model."""
    return {"params": params} if adapters is None else {"params": params, "adapters": adapters}


# Streams of random keys: fold_in(fold_in(key(seed), stream), step).
INIT, ADAPTERS, STEP = 0, 1, 2


def key(seed: Any, stream: int, step: Any = 0) -> Array:
    """The random key of a stream at a step: a function of the seed alone."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), step)
