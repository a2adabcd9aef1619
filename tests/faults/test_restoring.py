"""Damaged checkpoints are detected and named; what is refused loses nothing."""

import functools
import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from jaxlin.cli import resume
from jaxlin.cli.train import refuse_other_run
from jaxlin.config.errors import CheckpointError, ConfigError
from jaxlin.config.load import to_json
from jaxlin.train import records, steps
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.damage import Damaged
from jaxlin.train.restore import initial_params, load_run
from jaxlin.train.resume import STRICT, Resume, newest
from tests.faults.folders import POLICY, largest, names, truncate
from tests.train.helpers import SMALL, assert_equal, built, start

# Orbax leaves coroutines unawaited when a read fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@functools.cache
def state():
    return start(SMALL)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    run = tmp_path_factory.mktemp("sound") / "run"
    records.create(run, SMALL)
    checkpoints = Checkpoints(run / records.CHECKPOINTS, POLICY)
    for step in (2, 4):
        kept = state().replace(step=state().step + step)
        checkpoints.save(step, kept, {"config": json.loads(to_json(SMALL))}, loss=1.0)
    checkpoints.close()
    return run


@pytest.fixture
def run(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "run", symlinks=True)


def found(run, resume=STRICT, said=None):
    plan, mesh, _ = built(SMALL)
    say = (lambda text: None) if said is None else said.append
    return newest(run, plan, mesh, resume, lambda step, meta: None, say)


def delete(step):
    largest(step).unlink()


def empty(step):
    shutil.rmtree(step)
    step.mkdir()


def plain_file(step):
    shutil.rmtree(step)
    step.write_text("a file")


def loop(step):
    shutil.rmtree(step)
    step.symlink_to(step.name)


def loop_within(step):
    path = largest(step)
    path.unlink()
    path.symlink_to(path.name)


def link_out(step):
    step.rename(step.parent.parent / "elsewhere")
    step.symlink_to("../elsewhere")


def unfinished(step):
    (step / "state").rename(step / "state.orbax-checkpoint-tmp")


def no_meta(step):
    (step / "meta/metadata").unlink()


def junk_meta(step):
    (step / "meta/metadata").write_bytes(b"\xff{junk")


def list_as_meta(step):
    (step / "meta/metadata").write_text("[1, 2]")


def changed_meta(step):
    path = step / "meta/metadata"
    path.write_text(path.read_text().replace('"steps": 20', '"steps": 21'))


def meta_of_format_1(step):
    path = step / "meta/metadata"
    path.write_text(
        path.read_text().replace('"format_version": 2, "step"', '"format_version": 1, "step"')
    )


def no_tree(step):
    (step / "state/_METADATA").unlink()


def junk_tree(step):
    (step / "state/_METADATA").write_text("{")


def renamed_leaf(step):
    path = step / "state/_METADATA"
    path.write_text(path.read_text().replace("embedding", "imbedding"))


def junk_metrics(step):
    (step / "metrics").mkdir(exist_ok=True)
    (step / "metrics/metrics").write_text("{")


LEAF = r"at leaf \w+"


DAMAGE = {
    truncate: LEAF,
    delete: LEAF,
    loop_within: LEAF,
    empty: "it has no meta/metadata and no state",
    plain_file: "it is no folder",
    loop: "it leads nowhere",
    link_out: "leads out of",
    unfinished: "it has no state",
    no_meta: "it has no meta/metadata",
    junk_meta: "meta is damaged: it cannot be read",
    list_as_meta: "meta is damaged",
    changed_meta: "meta is damaged: it is not what was saved",
    meta_of_format_1: "meta is damaged: it is not what was saved",
    no_tree: "state is damaged: it cannot be read: the list of its leaves is missing",
    junk_tree: "state is damaged: it cannot be read",
    renamed_leaf: "state is damaged: it cannot be read",
    junk_metrics: "metrics/metrics is damaged: it cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_named_and_fallback_takes_the_step_before(damage, run):
    damage(run / "checkpoints/4")
    before = names(run)
    with pytest.raises(CheckpointError, match=rf"checkpoints/4\b.*{DAMAGE[damage]}") as error:
        found(run)
    assert "Step 2 is there too: --fallback" in str(error.value)
    assert "\n" not in str(error.value) and names(run) == before
    said = []
    step, restored = found(run, Resume(fallback=True), said)
    assert step == 2 and int(restored.step) == 2
    assert_equal(restored.params, state().params)
    assert len(said) == 1 and "Going on from step 2" in said[0] and "damaged-4" in said[0]
    assert names(run) == ["2", "damaged-4"]


def test_the_control_undamaged_it_is_step_4(run):
    said = []
    step, restored = found(run, Resume(fallback=True), said)
    assert step == 4 and not said and names(run) == ["2", "4"]
    assert_equal(restored.params, state().params)


@pytest.mark.parametrize(
    "name",
    [
        "commit_success.txt",
        "state/commit_success.txt",
        "state/_sharding",
        "_CHECKPOINT_METADATA",
        "state/array_metadatas/process_0",
    ],
)
def test_files_that_orbax_can_do_without_are_no_damage(name, run):
    (run / "checkpoints/4" / name).unlink()
    assert found(run).step == 4


def test_a_damaged_step_can_be_saved_anew(run):
    """Also a second time, and what was moved aside is lost in neither."""
    for moved in ("damaged-4", "damaged-4-2"):
        truncate(run / "checkpoints/4")
        found(run, Resume(fallback=True))
        assert (run / "checkpoints" / moved / "state").is_dir()
        checkpoints = Checkpoints(run / "checkpoints", POLICY)
        checkpoints.save(4, state().replace(step=state().step + 4), {})
        checkpoints.close()
        assert found(run).step == 4


def test_without_any_sound_step_nothing_is_moved(run):
    truncate(run / "checkpoints/4")
    no_meta(run / "checkpoints/2")
    with pytest.raises(CheckpointError, match=r"no undamaged step.*\n.*4/state.*\n.*2 is damaged"):
        found(run, Resume(fallback=True))
    assert names(run) == ["2", "4"]
    shutil.rmtree(run / "checkpoints/2")
    with pytest.raises(CheckpointError, match="There is no earlier step"):
        found(run)


def test_an_older_damaged_step_is_in_nobodys_way(run):
    junk_metrics(run / "checkpoints/2")
    assert found(run).step == 4
    said = []
    Checkpoints(run / "checkpoints", POLICY, say=said.append).close()
    assert names(run) == ["4", "damaged-2"] and "metrics/metrics is damaged" in said[0]


def test_evaluation_and_init_from_verify_what_they_load(run):
    """The optimizer's leaves, which they do not read, may be damaged."""
    assert load_run(run).step == 4
    meta = run / "checkpoints/4/meta/metadata"
    sound = json.loads(meta.read_text())

    def damage_first(field):
        path = next(path for path in sound["digests"] if path.startswith(field))
        _reseal(meta, {**sound, "digests": {**sound["digests"], path: "0" * 16}})

    damage_first("opt_state/")
    assert load_run(run).step == 4
    damage_first("params/")
    with pytest.raises(Damaged, match="leaf params/.* is not what was saved"):
        load_run(run)
    plan, mesh, _ = built(SMALL)
    with pytest.raises(Damaged, match="leaf params/.* is not what was saved"):
        initial_params(run, plan, mesh)
    assert load_run(run, step=2).step == 2


def _reseal(path, meta):
    about = {key: value for key, value in meta.items() if key != "sha256"}
    seal = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**about, "sha256": seal}))


def test_names_lead_nowhere_else(run, tmp_path):
    (tmp_path / "outside").mkdir()
    (run / "checkpoints/link").symlink_to(tmp_path / "outside")
    for name in ("../../outside", "link", "link/../../x", str(tmp_path)):
        with pytest.raises(CheckpointError, match="leads out of|leads nowhere"):
            steps.inside(run / "checkpoints", name)
    assert steps.inside(run / "checkpoints", "4") == (run / "checkpoints/4").resolve()


def test_a_changed_config_is_shown_and_a_cast_has_to_be_allowed(run):
    with pytest.raises(ConfigError, match=r"(?s)optim.lr: cannot.*\n  optim.lr: 0.01 -> 0.1$"):
        resume.changed(run, ["optim.lr=0.1", "steps=30"], ("model.dtype",))
    with pytest.raises(ConfigError, match=r"(?s)--allow-cast.*model.dtype: float32 -> bfloat16$"):
        resume.changed(run, ["model.dtype=bfloat16"])
    assert resume.changed(run, ["model.dtype=bfloat16"], ("model.dtype",)).model.dtype == "bfloat16"
    other = replace(SMALL, model=replace(SMALL.model, dtype="bfloat16"))
    with pytest.raises(ConfigError, match="model.dtype: float32 -> bfloat16"):
        refuse_other_run(run, other)
    refuse_other_run(run, other, ("model.dtype",))
