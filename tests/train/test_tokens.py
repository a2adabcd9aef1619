"""The digest of a batch: of the tokens and their places alone, however they are split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.data.batches import batch_at
from jaxlin.parallel.place import local_rows, place
from jaxlin.parallel.rules import batch_sharding
from jaxlin.train.tokens import digest
from tests.data.helpers import stream
from tests.train.helpers import batch, built, with_mesh

MESHES = [dict(data=8), dict(data=2, fsdp=4), dict(data=2, fsdp=2, tensor=2)]
HOW = {"seed": 3, "step": 7, "batch": 8, "context": 16}


def by_hand(tokens):
    """In Python's integers."""
    total, mask = 0, 2**32 - 1
    for i, token in enumerate(tokens.ravel().tolist()):
        x = (token * 0x9E3779B1 ^ i * 0x85EBCA77) & mask
        x = (x ^ x >> 16) * 0x85EBCA6B & mask
        x = (x ^ x >> 13) * 0xC2B2AE35 & mask
        total += x ^ x >> 16
    return total & mask


def test_is_its_formula():
    tokens = batch(0).tokens
    assert int(digest(jnp.asarray(tokens))) == by_hand(tokens)


def test_sees_one_token_and_a_change_of_places():
    tokens = batch(0).tokens
    other, swapped = tokens.copy(), tokens[::-1].copy()
    other[3, 5] ^= 1
    found = {int(digest(jnp.asarray(t))) for t in (tokens, other, swapped, tokens[:4])}
    assert len(found) == 4


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_rows_of_any_number_of_hosts_on_any_mesh_have_the_same(hosts, mesh):
    """Each host reads its rows; they are put together as the devices of the mesh hold them."""
    made, n = stream(40, 3, 170, 90), 8 // hosts
    rows = [batch_at(made, rows=slice(i * n, i * n + n), **HOW).tokens for i in range(hosts)]
    sharding = batch_sharding(built(with_mesh(**mesh))[1])
    placed = place(np.concatenate(rows), sharding, local_rows(sharding, 8), 8)
    assert int(jax.jit(digest)(placed)) == by_hand(batch_at(made, **HOW).tokens)
