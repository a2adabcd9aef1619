"""The table of choices, and refusals of what was asked for by name."""

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, Mesh, use_abstract_mesh
from jax.sharding import PartitionSpec as P

from kernels_pallas import ImplementationError, dispatch, linear_attention
from kernels_pallas.call import Call
from kernels_pallas.chip import Chip, target

CPU, TPU = Chip("cpu", "cpu"), Chip("tpu", "TPU v5 lite")
HOPPER = Chip("gpu", "NVIDIA H100 80GB HBM3")
LINEAR = Call("linear_attention", 2, 100, 4, 128, 64, "bfloat16", "head", False)
DELTA = LINEAR._replace(op="delta_rule")


def kernel(platform: str) -> Any:
    """Stands for a kernel's module: refuses other platforms and float64."""

    def refusal(call: Call, chip: Chip) -> str:
        if chip.platform != platform:
            return f"needs a {platform}"
        return "no float64" if call.dtype == "float64" else ""

    def run(call: Call, chip: Chip, *rest: Any) -> tuple:
        return call, chip, *rest

    return SimpleNamespace(refusal=refusal, run=run)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kernels for every op, whichever this version has."""
    modules = {f"pallas_{platform}": kernel(platform) for platform in ("tpu", "gpu")}
    monkeypatch.setattr(dispatch, "load", lambda op, implementation: modules[implementation])


TABLE = [
    (LINEAR, CPU, "xla"),
    (LINEAR._replace(t=1), CPU, "reference"),
    (LINEAR._replace(t=1), TPU, "reference"),
    (LINEAR, TPU, "pallas_tpu"),
    (DELTA, TPU, "pallas_tpu"),
    (LINEAR._replace(dtype="float64"), TPU, "xla"),
    (LINEAR, HOPPER, "pallas_gpu"),
    (LINEAR._replace(decay="none"), HOPPER, "pallas_gpu"),
    (LINEAR._replace(dtype="float64"), HOPPER, "xla"),
]


@pytest.mark.parametrize(("call", "chip", "wanted"), TABLE)
def test_none_chooses_by_the_table(call: Call, chip: Chip, wanted: str, kernels: None) -> None:
    choice = dispatch.choose(call, chip)
    assert choice.implementation == wanted and choice.chip == chip
    assert choice.reason == next(r.words for r in dispatch.RULES if r.implementation == wanted)


def test_a_chip_without_a_kernel_gets_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "load", lambda op, implementation: None)
    assert dispatch.choose(LINEAR, TPU).implementation == "xla"
    with pytest.raises(ImplementationError, match="'pallas_tpu' cannot run: this version has no"):
        dispatch.choose(LINEAR, TPU, "pallas_tpu")


def test_what_cannot_run_is_refused_with_what_can(kernels: None) -> None:
    message = "^delta_rule: .*'pallas_tpu' cannot run: needs a tpu; what can: reference, xla; None"
    with pytest.raises(ImplementationError, match=message):
        dispatch.choose(DELTA, CPU, "pallas_tpu")
    with pytest.raises(ImplementationError, match="can: reference, xla, pallas_gpu; None"):
        dispatch.choose(DELTA, HOPPER, "pallas_tpu")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("palas_tpu", "did you mean 'pallas_tpu'?"),
        ("Reference", "did you mean 'reference'?"),
        ("", "known: reference, xla"),
        ("triton", "known: reference, xla"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_if_one_is_near(name: Any, near: str) -> None:
    with pytest.raises(ImplementationError, match=re.escape(f"called {name!r}; {near}")):
        dispatch.choose(LINEAR, CPU, name)


def test_interpreting_waives_the_platform_and_nothing_else(kernels: None) -> None:
    choice = dispatch.choose(LINEAR, CPU, "pallas_tpu", interpret=True)
    assert choice.implementation == "pallas_tpu" and choice.chip.platform == "tpu"
    assert dispatch.choose(LINEAR, TPU, "pallas_tpu", interpret=True).chip == TPU
    with pytest.raises(ImplementationError, match="cannot run: no float64"):
        dispatch.choose(LINEAR._replace(dtype="float64"), CPU, "pallas_tpu", interpret=True)
    assert dispatch.choose(LINEAR, CPU, None, interpret=True).implementation == "xla"


def test_the_op_hands_the_kernel_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    module = kernel("tpu")
    module.run = lambda *given: (given, given)
    monkeypatch.setattr(dispatch, "load", lambda op, implementation: module)
    q, v = jnp.ones((2, 6, 3, 4), jnp.bfloat16), jnp.ones((2, 6, 3, 5), jnp.bfloat16)
    bare = linear_attention
    while hasattr(bare, "__wrapped__"):  # what the tests' shape checks would say of the stand-in
        bare = bare.__wrapped__
    (call, chip, tokens, state, *rest), _ = bare(
        q, q, v, chunk_size=16, implementation="pallas_tpu", interpret="how"
    )
    assert call == Call("linear_attention", 2, 6, 3, 4, 5, "bfloat16", "none", False)
    assert chip.platform == "tpu" and rest == [0.5, 16, "how"]
    assert tokens.log_decay is None and tokens.resets is None and tokens.q is q
    assert state.shape == (2, 3, 4, 5) and state.dtype == jnp.float32


def test_the_target_is_the_device_of_the_mesh_or_the_default_one() -> None:
    assert target() == CPU
    device = AbstractDevice(device_kind=TPU.kind, platform="tpu", num_cores=1)
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
        assert target() == TPU
        assert jax.eval_shape(lambda: jnp.zeros(int(target() == TPU))).shape == (1,)
    with jax.set_mesh(Mesh(np.array(jax.devices()[:2]), ("data",))):
        assert target() == CPU


def test_a_kernel_is_for_one_device_of_the_mesh(kernels: None) -> None:
    """The compiler splits no kernel: it runs inside shard_map, or where nothing is split."""
    mesh = Mesh(np.array(jax.devices()[:2])[:, None], ("data", "tensor"))
    inside = []

    def body(x: jax.Array) -> jax.Array:
        inside.append(dispatch.choose(LINEAR, TPU).implementation)
        return x

    jax.shard_map(body, mesh=mesh, in_specs=P("data"), out_specs=P("data"))(jnp.zeros(2))
    assert set(inside) == {"pallas_tpu"}
    with jax.set_mesh(mesh):
        assert dispatch.choose(LINEAR, TPU).implementation == "xla"
        message = "cannot split a kernel over the mesh axes data: call the op inside jax.shard_map"
        with pytest.raises(ImplementationError, match=message):
            dispatch.choose(LINEAR, TPU, "pallas_tpu")
        dispatch.choose(LINEAR, TPU, "pallas_tpu", interpret=True)
    with jax.set_mesh(Mesh(np.array(jax.devices()[:1]), ("data",))):
        assert dispatch.choose(LINEAR, TPU).implementation == "pallas_tpu"


def test_only_a_missing_kernel_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that fails inside a kernel's module is no missing kernel."""

    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'inner'", name="inner")

    assert dispatch.load("linear_attention", "pallas_fpga") is None
    monkeypatch.setattr(dispatch.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="inner"):
        dispatch.load("linear_attention", "pallas_tpu")


def test_importing_and_calling_on_a_cpu_imports_no_pallas() -> None:
    code = """
import sys, jax.numpy as jnp, kernels_pallas as kp
q = jnp.ones((1, 4, 1, 2))
kp.linear_attention(q, q, q)
assert not [m for m in sys.modules if m.startswith("jax.experimental.pallas")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
