"""Digests of arrays: equal to their definition, the same on every mesh, blind to no change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxlin.config.run import Mesh
from jaxlin.parallel.mesh import make
from jaxlin.train.digest import CONSTANTS, digests

M = 2**32


def digest(array):
    return digests({"a": array})["a"]


def by_hand(bits):
    """The definition in Python's integers, of an array of bits [rows, columns]."""
    words = []
    for a, b, c, d in CONSTANTS:
        total = 0
        for (row, column), x in np.ndenumerate(bits):
            h = (a * int(x) + b * row + c * column + d) % M
            h = ((h ^ (h >> 16)) * 0x85EBCA6B) % M
            h = ((h ^ (h >> 13)) * 0xC2B2AE35) % M
            total += h ^ (h >> 16)
        words.append(total % M)
    return f"{words[0]:08x}{words[1]:08x}"


def sample(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_it_is_what_its_definition_says():
    x = sample((5, 7))
    assert digest(x) == by_hand(x.view(np.uint32))
    assert digest(x[0]) == by_hand(x[:1].view(np.uint32))
    assert digest(x.reshape(1, 5, 7)) == digest(x)  # leading axes are flattened
    half = jnp.asarray(x, jnp.bfloat16)
    assert digest(half) == by_hand(np.asarray(half).view(np.uint16))
    assert digest(x > 0) == by_hand((x > 0).astype(np.uint32))
    assert digest(np.int8([[-1, 2]])) == by_hand(np.array([[255, 2]]))
    assert digest(np.int32(7)) == by_hand(np.array([[7]]))


@pytest.mark.parametrize(
    "array",
    [
        np.float32(1.5),
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
        jnp.ones(3, jnp.float8_e4m3fn),
        jnp.ones(3, jnp.int4),
        jnp.ones(2, jnp.complex64),
        jax.random.key(3),
        jax.random.split(jax.random.key(3), 2),
    ],
    ids=str,
)
def test_every_kind_of_leaf_has_one(array):
    assert len(digest(array)) == 16 and digest(array) == digest(array)


def test_keys_and_complex_numbers_are_told_apart():
    assert digest(jax.random.key(3)) != digest(jax.random.key(4))
    assert digest(np.complex64([1 + 2j])) != digest(np.complex64([2 + 1j]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_ulp_anywhere_changes_it(dtype):
    x = jnp.asarray(sample((3, 4)), dtype)
    seen = {digest(x)}
    for place in np.ndindex(x.shape):
        seen.add(digest(x.at[place].set(jnp.nextafter(x[place], jnp.asarray(9, dtype)))))
    assert len(seen) == 13


def test_signs_of_zero_and_swaps_change_it():
    x = sample((4, 6))
    seen = {digest(x), digest(x.T), digest(np.roll(x, 1, 0)), digest(np.roll(x, 1, 1))}
    for i in range(1, x.size):
        y = x.copy().reshape(-1)
        y[[0, i]] = y[[i, 0]]
        seen.add(digest(y.reshape(x.shape)))
    assert len(seen) == 4 + x.size - 1
    assert digest(np.float32(0.0)) != digest(np.float32(-0.0))
    nan = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert digest(nan[0]) != digest(nan[1])


def test_every_flipped_bit_shows():
    x = sample((2, 3)).view(np.uint32)
    seen = {digest(x)}
    for place in np.ndindex(x.shape):
        for bit in range(32):
            y = x.copy()
            y[place] ^= np.uint32(1 << bit)
            seen.add(digest(y.view(np.float32)))
    assert len(seen) == 1 + x.size * 32


def test_it_does_not_depend_on_the_mesh():
    leaves = {"w": sample((8, 4, 16)), "b": sample(16, seed=1), "s": np.float32(2)}
    specs = {"w": ("data", "fsdp", "tensor"), "b": ("tensor",), "s": ()}
    whole = digests(leaves)
    for sizes in ({"data": 8}, {"data": 2, "fsdp": 4}, {"data": 2, "fsdp": 2, "tensor": 2}):
        mesh = make(Mesh(**sizes))
        put = {
            name: jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*specs[name])))
            for name, leaf in leaves.items()
        }
        assert digests(put) == whole


def test_each_digest_belongs_to_its_path():
    a, b = sample(3), sample(3, seed=1)
    assert digests({"z": a, "a": b}) == {"z": digest(a), "a": digest(b)}
    assert digests({}) == {}
