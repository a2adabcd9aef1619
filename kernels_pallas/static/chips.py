"""The TPU generations that kernels are compiled for, and how to trace for one without having it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh


class Generation(NamedTuple):
    """A TPU generation: its device kind, and the smallest topology that compiles for it."""

    kind: str
    topology: str


CHIPS = {
    "v5e": Generation("TPU v5 lite", "v5e:2x2"),
    "v5p": Generation("TPU v5", "v5p:2x2x1"),
    "v6e": Generation("TPU v6 lite", "v6e:2x2"),
    "tpu7x": Generation("TPU7x", "tpu7x:2x2x1"),
}


def generation(chip: str) -> Generation:
    """The entry of `chip`; ValueError that names the known chips."""
    if chip not in CHIPS:
        raise ValueError(f"chip: {chip!r} is not known; allowed: {', '.join(CHIPS)}")
    return CHIPS[chip]


def tracing_for(chip: str) -> AbstractContextManager:
    """While entered, traces see one core of `chip`: ops choose its kernels, lowering its rules."""
    device = AbstractDevice(device_kind=generation(chip).kind, platform="tpu", num_cores=1)
    return use_abstract_mesh(AbstractMesh((), (), abstract_device=device))
