"""How the layers of one sequence meet that is split over the devices of mesh.seq."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.types import PositiveInt


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """States of linear layers and keys of softmax layers on their way between devices.

    `auto` is chosen for each layer from bytes, devices and chip; `jaxlin compile` shows the choice
    and its reason. `all_scan` passes one state along the line in blocks, by remote DMA: on TPU
    alone, never chosen by `auto`. `off` lets every device see its own slice only: the control of
    experiments.
    """

    method: Literal["auto", "all_gather", "hierarchical", "log_step", "ring", "all_scan", "off"] = (
        "auto"
    )
    factors: tuple[PositiveInt, ...] | None = None  # of mesh.seq, the fastest first: hierarchical
    wire: Literal["float32", "bfloat16"] = "float32"  # of states; those of delta rules are float32
    softmax: Literal["all_gather", "ring", "ulysses", "off"] = "all_gather"
