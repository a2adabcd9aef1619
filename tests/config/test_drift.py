"""Which fields may change when a run goes on: every field is one thing or the other (D25)."""

import dataclasses

import pytest

from jaxlin.cli import resume
from jaxlin.config import ConfigError, RunConfig, preset
from jaxlin.train import records

# A change of each field, for the preset tiny.
PASS = {
    "mesh": "mesh.fsdp=2",
    "steps": "steps=40",
    "log": "log.every=5",
    "eval": "eval.every=0",
    "checkpoint": "checkpoint.keep=5",
    "guard": "guard.nonfinite=rewind",
}
REFUSED = {
    "name": "name=other",
    "seed": "seed=1",
    "batch": "batch=8",
    "context": "context=64",
    "accumulate": "accumulate=2",
    "ema": "ema=0.9",
    "model": "model.mixer=gla",
    "loss": "loss.z=1e-4",
    "data": "data.held_out=0.3",
    "optim": "optim.lr=1e-4",
    "schedule": "schedule.final=0.2",
    "adapters": "adapters=lora",
    "init_from": "init_from=runs/other",
}


@pytest.fixture
def run(tmp_path):
    records.create(tmp_path, preset("tiny"))
    return tmp_path


def test_every_field_is_decided():
    assert PASS.keys() | REFUSED.keys() == {f.name for f in dataclasses.fields(RunConfig)}
    assert PASS.keys() == set(resume.CHANGEABLE)


@pytest.mark.parametrize(("field", "word"), PASS.items(), ids=PASS)
def test_what_may_change_does(field, word, run):
    assert getattr(resume.changed(run, [word]), field) != getattr(preset("tiny"), field)


@pytest.mark.parametrize(("field", "word"), REFUSED.items(), ids=REFUSED)
def test_what_would_make_another_run_is_refused_by_name(field, word, run):
    with pytest.raises(ConfigError, match=rf"{field}.*cannot change within a run"):
        resume.changed(run, [word, PASS["steps"]])
