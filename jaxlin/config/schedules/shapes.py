"""Learning-rate schedules: multipliers of the peak as a function of the step."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.registry import schedules
from jaxlin.config.types import Fraction, NonNegativeInt


@schedules.register("constant", "jaxlin.train.schedule:constant")
@dataclass(frozen=True, kw_only=True)
class Constant:
    """Linear warm-up, then the peak."""

    kind: Literal["constant"] = "constant"
    warmup: NonNegativeInt = 0  # steps


@schedules.register("cosine", "jaxlin.train.schedule:cosine")
@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Linear warm-up, then a half cosine down to `final` of the peak at the last step."""

    kind: Literal["cosine"] = "cosine"
    warmup: NonNegativeInt = 100  # steps
    final: Fraction = 0.1


@schedules.register("wsd", "jaxlin.train.schedule:wsd")
@dataclass(frozen=True, kw_only=True)
class WSD:
    """Warm-up, stable, decay: the last `decay` of all steps goes down to `final` of the peak."""

    kind: Literal["wsd"] = "wsd"
    warmup: NonNegativeInt = 100  # steps
    decay: Fraction = 0.2  # share of all steps
    final: Fraction = 0.0
    shape: Literal["linear", "sqrt"] = "sqrt"  # sqrt: 1 - sqrt(progress)
