"""Config of low-rank weight deltas (Hu et al. 2021, arXiv 2106.09685)."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.registry import adapters
from jaxlin.config.types import Name, PositiveFloat, PositiveInt, Regex


@adapters.register("lora", "jaxlin.adapters.lora:attach")
@dataclass(frozen=True, kw_only=True)
class LoRA:
    """W + alpha/rank * A B at every weight site whose path matches `at`."""

    kind: Literal["lora"] = "lora"
    name: Name = "lora"
    at: Regex = r"blocks/\d+/mixer/(q|v)"  # full-match regular expression on the site path
    rank: PositiveInt = 8
    alpha: PositiveFloat = 16.0
