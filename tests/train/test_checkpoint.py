"""Saved, restored exactly or refused with a reason, kept by policy."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from jaxlin.config.adapters.lora import LoRA
from jaxlin.config.errors import CheckpointError
from jaxlin.config.load import to_json
from jaxlin.config.run import Checkpoint
from jaxlin.train import records
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.restore import initial_params, load_run
from tests.train.helpers import (
    SMALL,
    assert_equal,
    batch,
    built,
    distance,
    put,
    run,
    snapshot,
    start,
    with_mesh,
)

POLICY = Checkpoint(every=2, minutes=None, keep=2, keep_best=0)


def restored(checkpoints, step, cfg):
    plan, mesh, _ = built(cfg)
    return checkpoints.restore(step, plan.shapes, plan.shardings(mesh))


def tiny(value=0.0):
    return {"params": {"w": jnp.full(3, value)}}


@pytest.fixture
def folder(tmp_path):
    opened = []

    def make(policy=POLICY, **kwargs):
        opened.append(Checkpoints(tmp_path / "checkpoints", policy, **kwargs))
        return opened[-1]

    yield make
    for checkpoints in opened:
        checkpoints.close()


def test_resume_is_bitwise_the_uninterrupted_run(folder):
    """Saved in the background while the next steps already use up the state."""
    checkpoints = folder()
    state, _ = run(SMALL, start(SMALL), range(3))
    checkpoints.save(3, state, {})
    state, losses = run(SMALL, state, range(3, 6))
    checkpoints.wait()
    again = restored(checkpoints, 3, SMALL)
    assert int(again.step) == 3
    again, more = run(SMALL, again, range(3, 6))
    assert more == losses
    assert_equal(again, state)


def test_resume_on_another_mesh(folder):
    """The restored leaves are the saved bits; later losses agree to rounding."""
    checkpoints, other = folder(), with_mesh(data=2, fsdp=2, tensor=2)
    state, _ = run(SMALL, start(SMALL), range(2))
    saved = snapshot(state)
    checkpoints.save(2, state, {})
    moved = restored(checkpoints, 2, other)
    assert_equal(moved, saved)
    kernel = moved.params["blocks_0"]["layer_0"]["mixer"]["q"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (2, 8, 8)
    _, losses = run(SMALL, state, range(2, 5))
    _, elsewhere = run(other, moved, range(2, 5))
    assert max(abs(a - b) for a, b in zip(losses, elsewhere, strict=True)) < 4e-6


def test_a_foreign_checkpoint_is_refused_with_a_table_of_all_leaves(folder):
    checkpoints = folder()
    checkpoints.save(1, start(SMALL), {})
    wider = replace(SMALL, model=replace(SMALL.model, width=32, tied=True))
    with pytest.raises(CheckpointError) as error:
        restored(checkpoints, 1, wider)
    lines = [line.split() for line in str(error.value).splitlines()]
    assert ["params/embed/embedding", "float32[128,16]", "float32[128,32]"] in lines
    assert ["params/unembed/kernel", "float32[16,128]", "-"] in lines
    stored = len(jax.tree.leaves(built(SMALL)[0].shapes.params))
    assert sum(line[0].startswith("params/") for line in lines) == stored


def test_another_optimizer_and_an_average_are_refused(folder):
    checkpoints = folder()
    checkpoints.save(1, start(SMALL), {})
    with pytest.raises(CheckpointError, match="ema/embed/embedding +- +float32"):
        restored(checkpoints, 1, replace(SMALL, ema=0.9))


def test_due_by_steps_and_by_time(folder):
    now = [0.0]
    checkpoints = folder(Checkpoint(every=5, minutes=2.0), clock=lambda: now[0])
    assert [step for step in range(1, 11) if checkpoints.due(step)] == [5, 10]
    now[0] = 119.0
    assert not checkpoints.due(1)
    now[0] = 120.0
    assert checkpoints.due(1)
    checkpoints.save(1, tiny(), {})
    now[0] = 200.0
    assert not checkpoints.due(2)
    now[0] = 240.0
    assert checkpoints.due(2)


def test_keeps_the_latest_and_the_best(folder):
    checkpoints = folder(Checkpoint(keep=2, keep_best=1))
    for step, loss in enumerate((3.0, 1.0, 2.0, None, None), start=1):
        checkpoints.save(step, tiny(step), {}, loss)
    checkpoints.wait()
    assert checkpoints.steps() == [2, 4, 5]
    again = folder(Checkpoint(keep=2, keep_best=1))
    again.save(6, tiny(6), {}, 0.5)
    again.wait()
    assert again.steps() == [5, 6]


def test_meta_comes_back_and_a_newer_format_is_refused(folder, tmp_path):
    checkpoints = folder()
    checkpoints.save(1, tiny(), {"data": {"seed": 3}})
    checkpoints.wait()
    found = checkpoints.meta(1)
    assert found.pop("digests").keys() == {"params/w"}
    assert found == {"format_version": 2, "step": 1, "data": {"seed": 3}}
    path = tmp_path / "checkpoints/1/meta/metadata"
    path.write_text(json.dumps({"format_version": 3, "step": 1}))
    with pytest.raises(CheckpointError, match="format_version 3 is newer than this version's 2"):
        folder(write=False).meta(1)


def test_only_fields_that_a_newer_format_added_may_be_missing(folder, tmp_path):
    """A checkpoint of format 1 has no guard; of format 2 it must have what is wanted."""
    checkpoints = folder()
    checkpoints.save(1, tiny(2.0), {})
    checkpoints.wait()
    wanted = tiny() | {"guard": {"skipped": jnp.int32(0)}}
    place = jax.tree.map(lambda leaf: leaf.sharding, wanted)
    shapes = jax.eval_shape(lambda: wanted)
    fresh = lambda paths: {path: jnp.int32(7) for path in paths}  # noqa: E731
    with pytest.raises(CheckpointError, match=r"guard/skipped +- +int32"):
        checkpoints.restore(1, shapes, place, fresh=fresh)
    (tmp_path / "checkpoints/1/meta/metadata").write_text('{"format_version": 1, "step": 1}')
    said = []
    old = folder(write=False, say=said.append)
    with pytest.raises(CheckpointError, match=r"guard/skipped +- +int32"):
        old.restore(1, shapes, place)
    found = old.restore(1, shapes, place, fresh=fresh)
    assert int(found["guard"]["skipped"]) == 7 and float(found["params"]["w"][0]) == 2.0
    assert len(said) == 1 and "without digests: it is not verified" in said[0]
    other = {"params": {"w": shapes["params"]["w"], "b": shapes["params"]["w"]}}
    with pytest.raises(CheckpointError, match=r"params/b +- +float32"):
        old.restore(1, other, jax.tree.map(lambda _: place["params"]["w"], other), fresh=fresh)


@pytest.mark.parametrize("old, new", [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_a_cast_has_to_be_allowed(folder, old, new):
    checkpoints = folder()
    values = jnp.array([1.0, 1 + 2**-7, -3.14159], old)
    checkpoints.save(1, {"params": {"w": values}}, {})
    shapes = {"params": {"w": jax.ShapeDtypeStruct((3,), new)}}
    place = {"params": {"w": values.sharding}}
    with pytest.raises(CheckpointError, match=rf"--allow-cast\.\n.*\n *params/w +{old}.* {new}"):
        checkpoints.restore(1, shapes, place)
    found = checkpoints.restore(1, shapes, place, cast=True)
    assert_equal(found, {"params": {"w": values.astype(new)}})


def test_no_other_cast_can_be_allowed(folder):
    checkpoints = folder()
    checkpoints.save(1, tiny(), {})
    whole = {"params": {"w": jax.ShapeDtypeStruct((3,), jnp.int32)}}
    place = jax.tree.map(lambda leaf: leaf.sharding, tiny())
    with pytest.raises(CheckpointError, match=r"params/w +float32\[3\] +int32\[3\]"):
        checkpoints.restore(1, whole, place, cast=True)


def test_steps_lists_what_is_complete(folder, tmp_path):
    """While a step is being saved, and among what is named like one."""
    checkpoints = folder()
    for step in (1, 2, 3):
        checkpoints.save(step, tiny(step), {})
        assert step not in checkpoints.steps() or (tmp_path / f"checkpoints/{step}").is_dir()
    checkpoints.wait()
    for name in ("7", "9.orbax-checkpoint-tmp", "08", "damaged-5", "deleting/4"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    (tmp_path / "checkpoints/6").symlink_to("6")
    assert checkpoints.steps() == [2, 3] and checkpoints.latest() == 3


def test_what_the_policy_drops_is_renamed_then_deleted(folder, tmp_path):
    """A kill while it is deleted leaves no half of a step behind; the next start finishes it."""
    checkpoints = folder()
    for step in (1, 2, 3):
        checkpoints.save(step, tiny(step), {})
    while checkpoints._saving:
        checkpoints.check()
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "3"]
    (tmp_path / "checkpoints/2").rename(tmp_path / "checkpoints/deleting")
    folder()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["3"]


def test_a_reader_changes_nothing(folder, tmp_path):
    writer = folder()
    writer.save(1, tiny(), {})
    writer.wait()
    leftover = tmp_path / "checkpoints/2.orbax-checkpoint-tmp"
    leftover.mkdir()
    assert folder(write=False).steps() == [1] and leftover.exists()
    writer = folder()
    writer.save(2, tiny(), {})
    writer.wait()
    assert writer.steps() == [1, 2] and not leftover.exists()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "checkpoints").write_text("a file stands here")
    with pytest.raises(CheckpointError, match="no checkpoints can be kept here"):
        Checkpoints(tmp_path / "checkpoints", POLICY)


def saved_run(path, cfg, steps=2):
    """A run directory with one checkpoint; returns the state."""
    records.create(path, cfg)
    state, _ = run(cfg, start(cfg), range(steps))
    checkpoints = Checkpoints(path / records.CHECKPOINTS, POLICY)
    checkpoints.save(steps, state, {"config": json.loads(to_json(cfg))})
    checkpoints.close()
    return state


@pytest.mark.parametrize("ema", [None, 0.8])
def test_a_run_is_loaded_without_its_optimizer(tmp_path, ema):
    cfg = replace(SMALL, ema=ema)
    state = saved_run(tmp_path, cfg)
    loaded = load_run(tmp_path, built(with_mesh(data=8))[1])
    assert loaded.step == 2 and loaded.cfg == cfg
    assert_equal(loaded.variables, state.variables())
    hidden, _ = loaded.model.apply(loaded.variables, jnp.asarray(batch(0).tokens))
    assert hidden.shape == (8, 16, 16)


def test_init_from_takes_the_parameters_and_starts_anew(tmp_path):
    state = saved_run(tmp_path, SMALL)
    plan, mesh, _ = built(SMALL)
    assert_equal(initial_params(tmp_path, plan, mesh), state.params)
    other = replace(SMALL, model=replace(SMALL.model, width=32))
    with pytest.raises(CheckpointError, match=r"init_from: .*\n.*\n *params/blocks_0"):
        initial_params(tmp_path, built(other)[0], mesh)


@pytest.mark.slow
def test_init_from_an_adapted_run_takes_the_merged_weights(tmp_path):
    cfg = replace(SMALL, adapters=(LoRA(rank=2),))
    state = saved_run(tmp_path, cfg)
    plan, mesh, _ = built(SMALL)
    params = initial_params(tmp_path, plan, mesh)
    assert distance(params, state.params) > 1e-5
    given = put(batch(0), mesh)
    merged, _ = plan.model.apply({"params": params}, given.tokens)
    apart, _ = plan.model.apply(state.variables(), given.tokens)
    # float32 hidden states of size 1; the two forms add the delta before or after the product.
    assert float(jnp.abs(merged - apart).max()) < 5e-6


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is no run directory: it has no config.json"):
        load_run(tmp_path)
    records.create(tmp_path, SMALL)
    with pytest.raises(CheckpointError, match="no complete checkpoint yet"):
        load_run(tmp_path)
    saved_run(tmp_path, SMALL)
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 7; it has \[2\]"):
        load_run(tmp_path, step=7)
