"""The kernels lower for CUDA, and compile for Hopper where its compiler is installed.

In a process of their own, under a time-out: a layout that cannot be found may take minutes.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from tests.conformance.ops import Dims
from tests.kernels_pallas.gpu import cuda, problems

ROOT = Path(__file__).parents[3]
SLOW = pytest.mark.slow
# Bytes of registers spilled; measured 204 (factor_gradients) at 128 and 816 (adjoint) at 256.
SPILLS = {128: 300, 256: 1000}


def run(*arguments: object, **environment: str) -> str:
    """What the script prints; fails where it does, or takes too long."""
    command = [sys.executable, "-m", "tests.kernels_pallas.gpu.cuda", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("name", "form", "k", "v"),
    (
        ("linear_attention", "head", 128, 128),
        ("delta_rule", "head", 64, 64),
        pytest.param("linear_attention", "key", 256, 256, marks=SLOW),
        pytest.param("linear_attention", "none", 256, 256, marks=SLOW),
        pytest.param("delta_rule", "key", 256, 256, marks=SLOW),
        pytest.param("delta_rule", "none", 256, 256, marks=SLOW),
    ),
)
def test_lowers(name: str, form: str, k: int, v: int) -> None:
    """With gradients: layouts are consistent, and shared memory suffices."""
    run("lower", name, form, k, v)


def has_compiler() -> bool:
    plugins = importlib.util.find_spec("jax_plugins")
    return plugins is not None and any(
        importlib.util.find_spec(f"jax_plugins.xla_cuda{version}") for version in (12, 13)
    )


@SLOW
@pytest.mark.skipif(
    not has_compiler(),
    reason="needs JAX's CUDA plugin (pip install --no-deps jax-cuda13-plugin jax-cuda13-pjrt "
    "nvidia-cuda-nvcc nvidia-nvvm), but no GPU",
)
@pytest.mark.parametrize("size", (128, 256))
@pytest.mark.parametrize(
    ("name", "form", "kernels"),
    (
        ("linear_attention", "head", {"scores", "forward", "adjoint", "head_gradients"}),
        ("linear_attention", "key", {"forward", "adjoint", "gradients"}),
        (
            "delta_rule",
            "head",
            {"factors", "forward", "adjoint", "head_gradients", "factor_gradients"},
        ),
    ),
)
def test_compiles(name: str, form: str, kernels: set[str], size: int) -> None:
    said = run(
        *("compile", name, form, size, size),
        JAX_PLATFORMS="",
        JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1",
        MOSAIC_GPU_DUMP_PTXAS="1",
    )
    if form == "head":  # XLA makes operands from q, k and v with one decay a key
        moved = re.findall(r"= bf16\[([\d,]*)\]\S* (?:copy|transpose|pad)\(", said)
        tokens = 2 * 128 * size  # the numbers of q; those of beta and the decay may move
        assert all(math.prod(map(int, shape.split(","))) < tokens for shape in moved), moved
    compiled = set(re.findall(r"entry function '(\w+?)_mosaic_gpu_kernel' for 'sm_90a'", said))
    assert compiled == kernels
    assert max(map(int, re.findall(r"(\d+) bytes spill stores", said))) <= SPILLS[size]


def test_shard_map_and_remat_lower() -> None:
    """The interpreter's effects do not go with remat, so neither is run here."""
    name = "linear_attention"
    case = problems.case_of(name, "head", 20, Dims(2, 1, 8, 8))
    both, arguments = problems.pulled(name, problems.runner(name, False), case)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    cuda.lower(jax.shard_map(both, mesh=mesh, in_specs=(spec, spec), out_specs=spec), *arguments)
    cuda.lower(jax.checkpoint(both), *arguments)
