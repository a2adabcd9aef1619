"""Config of Muon for matrices, with AdamW for everything else."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.optimizers.adamw import NO_DECAY
from jaxlin.config.registry import optimizers
from jaxlin.config.types import NonNegativeFloat, OpenFraction, PositiveFloat, PositiveInt, Regex


@optimizers.register("muon", "jaxlin.train.optimizer:muon")
@dataclass(frozen=True, kw_only=True)
class Muon:
    """Orthogonalised momentum (Jordan et al. 2024) on matrices; AdamW on the rest."""

    kind: Literal["muon"] = "muon"
    lr: PositiveFloat = 2e-2
    beta: OpenFraction = 0.95
    iterations: PositiveInt = 5
    adam_lr: PositiveFloat = 3e-4
    b1: OpenFraction = 0.9
    b2: OpenFraction = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1
    clip: PositiveFloat | None = 1.0
    no_decay: tuple[Regex, ...] = NO_DECAY
    # Matrices that Adam trains all the same: embeddings and the head.
    adam: tuple[Regex, ...] = (r"(un)?embed/.*",)
