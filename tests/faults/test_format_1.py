"""A run of checkpoint format 1 restores and goes on."""

import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxlin.config.sources.text import Text
from jaxlin.train import records
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.loop import train
from jaxlin.train.restore import load_run
from jaxlin.train.resume import STRICT, newest

# Orbax leaves coroutines unawaited when a read fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FORMAT_1 = Path(__file__).parent.parent / "data" / "run_format_1"


@pytest.fixture
def format_1(tmp_path):
    run = shutil.copytree(FORMAT_1 / "run", tmp_path / "run")
    cfg = records.read_config(run)
    return run, replace(
        cfg, steps=6, data=Text(paths=(str(FORMAT_1 / "text.jsonl"),), held_out=0.25)
    )


@pytest.mark.slow
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
