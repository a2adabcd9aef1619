"""Damaged checkpoints, failing disks, second writers: detected, named, and nothing else lost."""

import functools
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.cli import resume
from jaxlin.cli.main import main
from jaxlin.cli.train import refuse_other_run
from jaxlin.config.errors import CheckpointError, ConfigError
from jaxlin.config.load import to_json
from jaxlin.config.run import Checkpoint, Eval, Log
from jaxlin.config.sources.text import Text
from jaxlin.train import records, steps
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.damage import Damaged
from jaxlin.train.lock import LOCK, Lock
from jaxlin.train.loop import train
from jaxlin.train.restore import initial_params, load_run
from jaxlin.train.resume import STRICT, Resume, newest
from tests.train.helpers import SMALL, assert_equal, built, host, start

# Orbax leaves coroutines unawaited when a read fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FORMAT_1 = Path(__file__).parent.parent / "data" / "run_format_1"
POLICY = Checkpoint(every=2, minutes=None, keep=3, keep_best=0)


# ---- A run directory with steps 2 and 4 of the small model.


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


def files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def largest(folder):
    return max(
        files(folder / "state"), key=lambda path: (path.parent.name == "d", path.stat().st_size)
    )


def names(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


# ---- What is done to step 4, and what the error says.


def truncate(step):
    path = largest(step)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


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


# ---- One byte of a leaf.

KINDS = ("float32", "bfloat16", "int32", "uint8")


def kinds():
    """Leaves of random bits, which are stored as they are."""
    bits = np.random.default_rng(0).integers(0, 256, (len(KINDS), 4096), dtype=np.uint8)
    return {
        "params": {k: jnp.asarray(b.view(jnp.dtype(k))) for k, b in zip(KINDS, bits, strict=True)}
    }


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


# ---- Whole runs.


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    words = "the state of a linear model forgets what a softmax model keeps".split()
    for name, count in (("train", 800), ("held", 100)):
        (folder / f"{name}.txt").write_text(" ".join(random.Random(count).choices(words, k=count)))
    return replace(
        SMALL,
        steps=6,
        model=replace(SMALL.model, vocab=None),
        data=Text(paths=(f"{folder}/train.txt",), eval_paths=(f"{folder}/held.txt",)),
        checkpoint=POLICY,
        eval=Eval(every=0, batches=1),
        log=Log(every=1, tensorboard=False),
    )


@pytest.fixture(scope="module")
def whole(cfg, tmp_path_factory):
    """An uninterrupted run, with steps 2, 4 and 6."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(cfg, run, out=io.StringIO())
    return run


class At(io.StringIO):
    """Does something when a step is shown."""

    def __init__(self, step, act):
        super().__init__()
        self.step, self.act = step, act

    def write(self, text):
        if text.startswith(f"step {self.step}/"):
            self.act()
        return super().write(text)


def test_the_command_names_fallback_and_ends_alike(whole, tmp_path, capsys):
    """Exit code 4, then with --fallback the lost steps again, bit by bit."""
    run = shutil.copytree(whole, tmp_path / "run")
    truncate(run / "checkpoints/6")
    before = {path: path.read_bytes() for path in files(run)}
    assert main(["resume", str(run)]) == 4
    assert "6/state is damaged" in (said := capsys.readouterr().err) and "--fallback" in said
    assert {path: path.read_bytes() for path in files(run)} == before
    assert main(["resume", str(run), "--fallback"]) == 0
    said = capsys.readouterr().err
    assert "Going on from step 4 (--fallback)" in said and "checkpoint of step 4" in said
    assert names(run) == ["2", "4", "6", "damaged-6"]
    assert_equal(load_run(run).variables, load_run(whole).variables)
    steps = [r["step"] for r in records.read_metrics(run) if r["kind"] == "train"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_run_that_another_process_writes_to_is_refused(whole, tmp_path, capsys):
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "checkpoints/8.orbax-checkpoint-tmp").mkdir()  # its save, under way
    with Lock(run):
        before = {path: path.read_bytes() for path in files(run)}
        for switches in ([], ["--takeover"]):
            assert main(["resume", str(run), "steps=8", *switches]) == 4
            assert f"{LOCK} is held by process {os.getpid()} on" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in files(run)} == before
        assert (run / "checkpoints/8.orbax-checkpoint-tmp").is_dir()


def test_a_lock_that_is_lost_ends_the_run_before_its_next_step(cfg, whole, tmp_path, monkeypatch):
    run = shutil.copytree(whole, tmp_path / "run")
    now = [1000.0]

    def lose():
        (run / LOCK).unlink()
        now[0] += 100.0

    lock = lambda *args, **kwargs: Lock(*args, **kwargs, clock=lambda: now[0])  # noqa: E731
    monkeypatch.setattr("jaxlin.train.loop.Lock", lock)
    with pytest.raises(CheckpointError, match="was removed or taken over"):
        train(replace(cfg, steps=12), run, out=At(8, lose))
    assert Checkpoints(run / "checkpoints", POLICY, write=False).latest() == 8


def test_too_little_room_is_noticed_before_the_save(cfg, whole, tmp_path, monkeypatch):
    run = shutil.copytree(whole, tmp_path / "run")
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(load_state_shapes(cfg)))
    usage = lambda free: lambda path: SimpleNamespace(free=free)  # noqa: E731
    short = int(1.2 * size) - 1
    monkeypatch.setattr(shutil, "disk_usage", usage(short))
    with pytest.raises(CheckpointError, match=f"{size:,} bytes.*{short:,} are") as error:
        train(replace(cfg, steps=8), run, out=io.StringIO())
    assert "step 8 was not saved" in str(error.value)
    assert names(run) == ["2", "4", "6"] and LOCK not in os.listdir(run)
    monkeypatch.setattr(shutil, "disk_usage", usage(int(1.2 * size) + 1))
    train(replace(cfg, steps=8), run, out=io.StringIO())
    assert names(run) == ["4", "6", "8"]


def load_state_shapes(cfg):
    from jaxlin.parallel.mesh import make
    from jaxlin.train.plan import make_plan

    mesh = make(cfg.mesh)
    model = replace(cfg.model, vocab=384)
    return jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype),
        make_plan(replace(cfg, model=model), mesh.shape).shapes,
    )


def await_step(run, step):
    """Until it is complete: it is saved in the background."""
    while not (run / "checkpoints" / str(step)).is_dir():
        time.sleep(0.01)


def test_a_folder_that_is_removed_ends_the_run(cfg, tmp_path):
    run = tmp_path / "run"

    def remove():
        await_step(run, 2)
        shutil.rmtree(run)

    with pytest.raises(CheckpointError, match="checkpoints: the folder was removed"):
        train(cfg, run, out=At(3, remove))
    assert not (run / "checkpoints").exists()


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


def test_a_failed_save_does_not_hide_the_error_that_ends_the_run(tmp_path):
    """It is said beside it; without another error it is the error."""
    said = []
    for error, expected in ((KeyError, KeyError), (None, CheckpointError)):
        folder = tmp_path / str(expected.__name__)
        with pytest.raises(expected):
            with Checkpoints(folder, POLICY, say=said.append) as checkpoints:
                checkpoints.save(1, kinds(), {})
                (folder / "1.orbax-checkpoint-tmp").rename(tmp_path / f"gone-{expected.__name__}")
                if error:
                    raise error
    assert len(said) == 1 and "the last step could not be saved" in said[0]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 700 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=700k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_noticed_at_the_next_steps(cfg, small_disk, monkeypatch):
    """Orbax's save returns before it fails; the check before it is made to see room enough."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**40))
    run = small_disk / "run"
    many = replace(cfg, steps=500, checkpoint=replace(POLICY, every=4))

    def fill():
        await_step(run, 4)
        (small_disk / "other").write_bytes(b"x" * room(small_disk))

    with pytest.raises(
        CheckpointError, match="last step could not be saved, earlier ones|metrics.jsonl: cannot be"
    ):
        train(many, run, out=At(6, fill))
    reader = Checkpoints(run / "checkpoints", POLICY, write=False)
    assert reader.latest() == 4
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert len(lines) < 100


def room(folder):
    found = os.statvfs(folder)
    return max(0, found.f_bavail * found.f_frsize - 20_000)  # for metrics, not for a checkpoint


def test_a_disk_that_becomes_read_only(cfg, small_disk):
    """As file systems do after an error."""
    checkpoints = Checkpoints(small_disk / "checkpoints", POLICY)
    checkpoints.save(1, {"w": jnp.ones(3)}, {})
    checkpoints.wait()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = set(threading.enumerate())
    with pytest.raises(CheckpointError, match="Read-only file system"):
        checkpoints.save(2, {"w": jnp.ones(3)}, {})
        while True:
            checkpoints.check()
    # Threads that wait for the folder of step 2, for minutes, would keep the process from ending.
    for thread in set(threading.enumerate()) - before:
        thread.join(0 if thread.daemon else 10)
    assert not [t for t in set(threading.enumerate()) - before if not t.daemon]
    checkpoints.close()
    assert checkpoints.steps() == [1]
    with pytest.raises(CheckpointError, match="run directory cannot be written.*Read-only"):
        train(cfg, small_disk, out=io.StringIO())


# ---- Checkpoints of format 1.


@pytest.fixture
def format_1(tmp_path):
    run = shutil.copytree(FORMAT_1 / "run", tmp_path / "run")
    cfg = records.read_config(run)
    return run, replace(
        cfg, steps=6, data=Text(paths=(str(FORMAT_1 / "text.jsonl"),), held_out=0.25)
    )


def test_a_run_of_format_1_restores_and_goes_on(format_1):
    run, cfg = format_1
    expected = json.loads((FORMAT_1 / "expected.json").read_text())
    loaded = load_run(run)
    leaves = {
        f"params/{p}": leaf for p, leaf in jax.tree.leaves_with_path(loaded.variables["params"])
    }
    assert (
        np.asarray(loaded.variables["params"]["embed"]["embedding"])[97].tolist()
        == (expected["embedding"])
    )
    assert len(leaves) == sum(path.startswith("params/") for path in expected["sha256"])
    out = io.StringIO()
    train(cfg, run, devices=jax.devices()[:1], out=out)
    assert out.getvalue().count("step 4 has format 1, without digests: it is not verified") == 1
    losses = {r["step"]: r["loss"] for r in records.read_metrics(run) if r["kind"] == "train"}
    # Another compiler or library may round otherwise; the losses are near 6, float32.
    for step, loss in expected["losses"].items():
        assert losses[int(step)] == pytest.approx(loss, abs=1e-5)
    latest = Checkpoints(run / "checkpoints", cfg.checkpoint, write=False)
    assert latest.meta(6)["format_version"] == 2 and "digests" in latest.meta(6)


def test_every_leaf_of_format_1_has_its_bits(format_1):
    from jaxlin.parallel.mesh import make
    from jaxlin.parallel.paths import flatten
    from jaxlin.train.plan import make_plan

    run, cfg = format_1
    mesh = make(cfg.mesh, jax.devices()[:1])
    vocab = json.loads((run / "checkpoints/4/meta/metadata").read_text())["config"]["model"][
        "vocab"
    ]
    plan = make_plan(replace(cfg, model=replace(cfg.model, vocab=vocab)), mesh.shape)
    _, restored = newest(run, plan, mesh, STRICT, lambda step, meta: None, lambda text: None)
    expected = json.loads((FORMAT_1 / "expected.json").read_text())["sha256"]
    sums = {
        path: hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()
        for path, leaf in flatten(restored).items()
    }
    younger = {path for path in sums if path not in expected}
    assert all(path.startswith("guard/") for path in younger)
    assert {path: sums[path] for path in expected} == expected
