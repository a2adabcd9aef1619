"""Names of slices, and meshes that their torus can form."""

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.run import Mesh
from jaxlin.config.slices import FLAT, GENERATIONS, SMALL_SOLID, parse
from jaxlin.parallel import topology
from jaxlin.parallel.options import OPTIONS, compiler_options
from jaxlin.parallel.topology import axis_sizes, devices, mesh_on, named, spans
from kernels_pallas.hardware import CHIPS
from tests.kernels_pallas.aot import aot


def test_a_name_gives_chip_torus_and_devices():
    where = named("v5p:8x8x8")
    assert (where.chip.kind, where.torus, where.devices) == ("TPU v5", (8, 8, 8), 512)
    assert named("tpu7x:2x2x1").devices == 8


def test_a_generation_without_figures():
    with pytest.raises(ConfigError, match="no figures of v4 .* v5e, v5p, v6e, tpu7x"):
        named("v4:4x4x4")


def test_sizes_that_an_axis_can_have():
    assert axis_sizes(named("v5p:8x8x8")) == [1, 8, 64, 512]
    assert axis_sizes(named("v5e:4x8")) == [1, 4, 8, 32]


def test_without_libtpu_the_error_says_what_to_install(monkeypatch):
    def missing():
        raise topology.LibtpuMissing("install it with `pip install libtpu`")

    monkeypatch.setattr(topology, "require_libtpu", missing)
    with pytest.raises(ConfigError, match="pip install libtpu"):
        devices(named("v5e:2x2"))


@aot
@pytest.mark.parametrize("generation", [chip.name for chip in CHIPS.values()])
def test_the_compiler_knows_the_slices(generation):
    solid = (*SMALL_SOLID, "4x4x4", "4x4x12", "4x8x16", "8x12x20", "16x16x16")
    for shape in FLAT if GENERATIONS[generation].flat else solid:
        where = named(f"{generation}:{shape}")
        found = devices(where)
        assert (len(found), found[0].device_kind) == (where.devices, where.chip.kind)
        assert where.devices == parse(where.name).devices


@aot
def test_axes_run_over_dimensions_of_the_torus():
    where = named("v5p:4x4x8")
    found = spans(mesh_on(Mesh(fsdp=16, seq=8), where), where)
    assert (found["fsdp"].torus, found["seq"].torus) == ((4, 4), (8,))
    assert spans(mesh_on(Mesh(seq=128), where), where)["seq"].whole


@aot
def test_a_mesh_that_the_torus_cannot_form():
    with pytest.raises(ConfigError) as error:
        mesh_on(Mesh(fsdp=16), named("v5p:8x8x8"))
    said = str(error.value)
    assert "8x8x8" in said and "mesh.data=32 and mesh.fsdp=16 are no product" in said
    assert "1, 8, 64, 512, for example mesh.fsdp=8" in said


@aot
def test_a_mesh_of_other_size_says_what_is_there():
    with pytest.raises(ConfigError, match="there are 8"):
        mesh_on(Mesh(data=2, fsdp=2), named("v5e:2x4"))


def test_options_are_of_known_chips_and_have_reasons():
    assert set(OPTIONS) <= set(CHIPS)
    assert all(option.reason for options in OPTIONS.values() for option in options)
    assert compiler_options("cpu") == {}
    assert set(compiler_options("TPU v6 lite").values()) == {"true", "false"}
