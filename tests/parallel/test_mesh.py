"""Mesh sizes, and what they must divide, are settled before anything is traced."""

from dataclasses import replace

import jax
import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.exchange import Exchange
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM
from jaxlin.config.run import Mesh, RunConfig
from jaxlin.parallel.mesh import AXES, check, make, sizes

CFG = RunConfig(
    name="x",
    batch=8,
    context=32,
    model=LM(
        width=48,
        pattern="3*mixer + attention",
        mixer=GatedDeltaNet(heads=6),
        attention=Softmax(heads=8, kv_heads=4),
    ),
)


def on(**mesh):
    return {"data": 1, "fsdp": 1, "seq": 1, "tensor": 1} | mesh


def test_remote_dma_is_for_tpus_and_for_split_sequences():
    scan = Exchange(method="all_scan")
    with pytest.raises(ConfigError, match="method: all_scan .* found devices of platform 'cpu'"):
        make(Mesh(seq=2, exchange=scan))
    assert make(Mesh(exchange=scan)).shape["seq"] == 1


@pytest.mark.parametrize(
    "mesh, found",
    [
        (Mesh(), on(data=8)),
        (Mesh(fsdp=2, tensor=2), on(data=2, fsdp=2, tensor=2)),
        (Mesh(data=1, fsdp=8), on(fsdp=8)),
        (Mesh(data=2, seq=4), on(data=2, seq=4)),
        (Mesh(data=3, fsdp=2, allow_unused_devices=True), on(data=3, fsdp=2)),
        (Mesh(fsdp=3, allow_unused_devices=True), on(data=2, fsdp=3)),
    ],
)
def test_sizes_on_eight_devices(mesh, found):
    assert sizes(mesh, 8) == found


@pytest.mark.parametrize(
    "mesh, said",
    [
        (Mesh(data=3, fsdp=2), "data=3 .* fsdp=2 .* is 6 devices, there are 8; use mesh.data=4"),
        (Mesh(data=4, fsdp=4), "is 16 devices, there are 8; use mesh.data=2"),
        (Mesh(fsdp=3), "fsdp . seq . tensor = 3 must divide 8, for example 2; or set mesh.allow"),
        (Mesh(fsdp=16), "fsdp . seq . tensor = 16 must divide 8, for example 8"),
        (Mesh(data=16, allow_unused_devices=True), "is 16 devices, there are 8"),
        (Mesh(data=0), "mesh.data: 0 is neither -1"),
    ],
)
def test_sizes_that_do_not_fit_are_named(mesh, said):
    with pytest.raises(ConfigError, match=said):
        sizes(mesh, 8)


def test_a_mesh_on_one_device_is_told_how_to_get_more():
    said = "seq=8 .* there are 1; .*`jaxlin launch local -n 1 --devices-per-process 8 PRESET"
    with pytest.raises(ConfigError, match=said):
        sizes(Mesh(seq=8), 1)


def test_the_mesh_has_the_four_axes_and_only_as_many_devices_as_it_needs():
    mesh = make(Mesh(data=3, fsdp=2, allow_unused_devices=True))
    assert mesh.axis_names == AXES and mesh.devices.shape == (3, 2, 1, 1)
    assert len({device.id for device in mesh.devices.flat}) == 6
    one = make(Mesh(), devices=jax.devices()[3:4])
    assert [device.id for device in one.devices.flat] == [jax.devices()[3].id]


def test_what_fits_passes():
    check(CFG, on(data=2, fsdp=4))
    check(CFG, on(data=4, tensor=2))
    check(replace(CFG, accumulate=4), on(data=2))


@pytest.mark.parametrize(
    "changes, mesh, said",
    [
        ({"batch": 6}, on(data=2, fsdp=2), "batch: 6 is no multiple of 4 .*nearest: 4 or 8"),
        ({"accumulate": 2}, on(data=8), r"batch: 8 .* 16 \(mesh data 8 \* fsdp 1 \* accumulate 2"),
        ({"batch": 2}, on(data=8), "nearest: 8$"),
        ({"context": 30}, on(seq=4), "context: 30 is no multiple of mesh.seq=4; nearest: 28 or 32"),
        ({}, on(tensor=4), "mesh.tensor: 4 does not divide heads=6 .*among 1, 2, 3, 6, or heads=4"),
        ({}, on(tensor=3), "kv_heads=4 of mixer softmax"),
    ],
)
def test_what_does_not_fit_is_named_with_the_nearest_values(changes, mesh, said):
    with pytest.raises(ConfigError, match=said):
        check(replace(CFG, **changes), mesh)


def test_all_problems_come_at_once():
    with pytest.raises(ConfigError) as error:
        check(replace(CFG, batch=7), on(data=2, tensor=8))
    text = str(error.value)
    assert "batch: 7" in text and "heads=6 of mixer gated" in text and "kv_heads=4" in text


def test_a_mixer_that_stands_in_no_layer_does_not_count():
    check(replace(CFG, model=replace(CFG.model, pattern="full")), on(tensor=4))
