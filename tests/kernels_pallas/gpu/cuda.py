"""Lowers or compiles the kernels of an op and its gradient for Hopper, where there is no GPU.

    python -m tests.kernels_pallas.gpu.cuda lower|compile OP FORM K V

`compile` needs the CUDA plugin of JAX and NVIDIA's ptxas, but no GPU and no driver.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies

from tests.conformance.ops import Dims
from tests.kernels_pallas.gpu import problems

# What XLA asks of a device that is not there; figures of an H100 SXM.
H100 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
runtime_version { major: 13 }
dnn_version_info { major: 9 minor: 7 }
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  memory_bandwidth: 3352320000000 device_memory_size: 84942979072 l2_cache_size: 52428800
}
"""


def lower(function: Callable[..., Any], *arguments: Any) -> Any:
    """To MLIR with the Mosaic GPU kernels in it; wants nothing but JAX."""
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))


def compile(function: Callable[..., Any], *arguments: Any) -> Any:
    """To machine code of sm_90a, and the program of kernels around it."""
    hopper = topologies.get_topology_desc("", "cuda", target_config=H100, topology="1x1x1")
    mesh = jax.sharding.Mesh(np.array(hopper.devices), ("x",))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    return jax.jit(function, in_shardings=whole).lower(*shapes).compile()


def main(mode: str, name: str, form: str, k: str, v: str) -> None:
    case = problems.case_of(name, form, 128, Dims(1, 2, int(k), int(v)))
    both, arguments = problems.pulled(name, problems.runner(name, False), case)
    if mode == "lower":
        lower(both, *arguments)
    else:
        print(compile(both, *arguments).as_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
