"""Config of AdamW."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.registry import optimizers
from jaxlin.config.types import NonNegativeFloat, OpenFraction, PositiveFloat, Regex

# Paths of parameters that never decay: scales, biases, gate parameters.
NO_DECAY = (r".*(scale|bias|A_log)",)


@optimizers.register("adamw", "jaxlin.train.optimizer:adamw")
@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay."""

    kind: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 3e-4  # the peak; the schedule multiplies it
    b1: OpenFraction = 0.9
    b2: OpenFraction = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1
    clip: PositiveFloat | None = 1.0  # global norm of the gradient
    no_decay: tuple[Regex, ...] = NO_DECAY  # full-match regular expressions on parameter paths
