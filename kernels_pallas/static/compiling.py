"""Ahead-of-time compiles for a TPU on a machine that has none."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from kernels_pallas.static.chips import generation, tracing_for

# What the compiler's library needs in the environment of a process without a TPU, before it is
# loaded: no search for a metadata server, and several processes may compile at once.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class LibtpuMissing(ImportError):
    """The TPU compiler is not installed."""


def require_libtpu() -> None:
    """Raises LibtpuMissing, which says what to install, unless the TPU compiler is there."""
    if importlib.util.find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in os.environ:
        raise LibtpuMissing(
            "compiling for a TPU needs the package libtpu (no TPU is needed): install it with "
            "`pip install libtpu`, or with the extra `jaxlin[tpu]`; TPU_LIBRARY_PATH may name a "
            "libtpu.so instead"
        )


def device(chip: str) -> Any:
    """One device of `chip`, to compile for and not to run on."""
    require_libtpu()
    topology = topologies.get_topology_desc(platform="tpu", topology_name=generation(chip).topology)
    return topology.devices[0]


def lower_for(f: Callable[..., Any], specs: tuple[Any, ...], chip: str) -> jax.stages.Lowered:
    """`f(*specs)` lowered for `chip`, without the TPU compiler; `specs` have shape and dtype."""
    with tracing_for(chip):
        return jax.jit(f).trace(*specs).lower(lowering_platforms=("tpu",))


def compile_for(f: Callable[..., Any], specs: tuple[Any, ...], chip: str) -> jax.stages.Compiled:
    """`f(*specs)` compiled for one core of `chip`, which this machine need not have.

    specs: the arguments of f, pytrees of arrays or jax.ShapeDtypeStruct. The result cannot be run
    here; `.as_text()`, `.memory_analysis()` and `copies` look at it. A process without a TPU sets
    the variables of ENVIRONMENT before its first compile.

    Raises:
        LibtpuMissing: no TPU compiler; says what to install.
        ValueError: chip is not of CHIPS.
        jax.errors.JaxRuntimeError: the compiler refused, such as when VMEM does not suffice.
    """
    there = SingleDeviceSharding(device(chip))
    place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there)  # noqa: E731
    lowered = lower_for(f, jax.tree.map(place, specs), chip)
    with unkept():
        return lowered.compile()


@contextlib.contextmanager
def unkept() -> Iterator[None]:
    """Keeps programs out of jax's cache on disk, which cannot load one for an absent device."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, math.inf)
    try:
        yield
    finally:
        jax.config.update(name, before)
