"""XLA options for each TPU generation, with the reason of each: for training and for `compile`.

What compilers do by default: v5e and TPU7x run gathers of states while they compute; v6e only with
the options below, on its SparseCores, and for groups of fewer than 256 devices; v5p does not.
"""

from __future__ import annotations

from typing import NamedTuple


class Option(NamedTuple):
    """One option of the compiler, and why it is set."""

    name: str
    value: str
    reason: str


OPTIONS: dict[str, tuple[Option, ...]] = {
    "TPU v6 lite": (
        Option(
            "xla_tpu_enable_sparse_core_collective_offload_all_gather",
            "true",
            "gathers run on the SparseCores, while the TensorCore computes",
        ),
        Option(
            "xla_tpu_enable_async_collective_fusion_fuse_all_gather",
            "false",
            "fused into the computation a gather would stay on the TensorCore",
        ),
    ),
}


def compiler_options(kind: str) -> dict[str, str]:
    """Options of `jax.jit(...).lower(...).compile(compiler_options=...)` for a device kind; empty
    for one that needs none."""
    return {option.name: option.value for option in OPTIONS.get(kind, ())}
