"""One changed byte of a checkpoint is found, whatever it belongs to."""

import random
import shutil

import jax
import numpy as np
import pytest

from jaxlin.config.errors import CheckpointError
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.damage import Damaged
from tests.faults.folders import KINDS, POLICY, files, kinds
from tests.train.helpers import host

# Orbax leaves coroutines unawaited when a read fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def bits(tree):
    return {path: (leaf.dtype, leaf.tobytes()) for path, leaf in host(tree).items()}


def restored(folder):
    place = jax.tree.map(lambda leaf: leaf.sharding, kinds())
    return Checkpoints(folder, POLICY, write=False).restore(1, jax.eval_shape(kinds), place)


@pytest.fixture(scope="module")
def random_bits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds") / "checkpoints"
    checkpoints = Checkpoints(folder, POLICY)
    checkpoints.save(1, kinds(), {})
    checkpoints.close()
    return folder


def flip(folder, content):
    """Flips a bit in the middle of the file's copy of `content`."""
    hits = [(p, p.read_bytes()) for p in files(folder) if content in p.read_bytes()]
    ((path, data),) = hits
    at = data.index(content) + len(content) // 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_found(kind, random_bits, tmp_path, monkeypatch):
    """The control: without digests the wrong values come back without a word."""
    folder = shutil.copytree(random_bits, tmp_path / "checkpoints")
    assert bits(restored(folder)) == bits(kinds())
    flip(folder, np.asarray(kinds()["params"][kind]).tobytes()[1000:1064])
    with pytest.raises(Damaged, match=rf"1/state is damaged: leaf params/{kind} is not what was"):
        restored(folder)
    monkeypatch.setattr("jaxlin.train.checkpoint.refuse_other_bits", lambda *_: None)
    wrong, right = bits(restored(folder)), bits(kinds())
    assert [path for path in right if wrong[path] != right[path]] == [f"params/{kind}"]


def test_a_flipped_byte_anywhere_is_found_or_changes_nothing(random_bits, tmp_path):
    """Any file of the step, at random places: metadata, indices, data."""
    draw = random.Random(0)
    found = 0
    for number in range(40):
        folder = shutil.copytree(random_bits, tmp_path / str(number) / "checkpoints")
        path = draw.choice([p for p in files(folder) if p.stat().st_size])
        data = bytearray(path.read_bytes())
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        try:
            assert bits(restored(folder)) == bits(kinds())
        except CheckpointError:
            found += 1
    assert found > 5
