"""Slices under their names."""

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.slices import parse


@pytest.mark.parametrize(
    "text, accelerator, chips, hosts",
    [
        ("v5e:4x4", "v5litepod-16", 16, 4),
        ("v5e:2x4", "v5litepod-8", 8, 1),
        ("v5e:1x1", "v5litepod-1", 1, 1),
        ("v5e:16x16", "v5litepod-256", 256, 64),
        ("v6e:8x8", "v6e-64", 64, 16),
        ("v5p:2x2x1", "v5p-8", 4, 1),
        ("v5p:8x8x8", "v5p-1024", 512, 128),
        ("v4:4x4x8", "v4-256", 128, 32),
        ("tpu7x:4x4x4", "tpu7x-128", 64, 16),
    ],
)
def test_names_and_sizes(text, accelerator, chips, hosts):
    found = parse(text)
    assert (found.accelerator, found.chips, found.hosts) == (accelerator, chips, hosts)
    assert found.hosts * found.chips_each == found.chips


@pytest.mark.parametrize(
    "text, why",
    [
        ("v5e:4x5", "v5e has no slice 4x5; did you mean v5e:4x4? It has 1x1 (1), 2x2 (4)"),
        ("v5e:4x4x4", "has no slice 4x4x4; did you mean v5e:4x4?"),
        ("v5p:4x4", "has no slice 4x4; did you mean v5p:2x4x4? It has 2x2x1"),
        ("v5p:8x8x9", "did you mean v5p:8x8x8?"),
        ("tpu7x:2x2", "did you mean tpu7x:2x2x1?"),
        ("v5p", "generations: v4, v5e, v5p, v6e, tpu7x"),
        ("v5p:8x4x4", "A <= B <= C"),
        ("v5p:0x4x4", "has no slice"),
        ("v5p:32x32x32", "at most 8960 chips"),
        ("v5x:4x4", "no TPU 'v5x'; did you mean 'v5"),
        (
            "v5litepod-16",
            "is not GENERATION:SHAPE, such as v5e:4x4 or v5p:4x4x8; did you mean v5e:4x4?",
        ),
        ("v5e-256", "did you mean v5e:16x16?"),
        ("v5e:20", "did you mean v5e:4x4?"),
        ("v5p-1024", "did you mean v5p:8x8x8?"),
        ("v4-8", "did you mean v4:2x2x1?"),
        ("h100-8", "or v5p:4x4x8; generations: v4, v5e"),
        ("v7:4x4x4", "no TPU 'v7'; did you mean 'tpu7x'?"),
        ("v5litepod:4x4", "no TPU 'v5litepod'; did you mean 'v5e'?"),
        ("v5e:4x4;reboot", "is not GENERATION:SHAPE"),
    ],
)
def test_what_is_none(text, why):
    with pytest.raises(ConfigError, match=r"^--topology: ") as error:
        parse(text)
    assert why in str(error.value)


def test_jax_sees_two_devices_of_a_tpu7x():
    assert parse("tpu7x:2x2x1").devices == 8
    assert parse("v5p:8x8x8").devices == 512
