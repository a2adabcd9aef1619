"""A finished run of a few steps on a few lines of text, shared by the commands that read runs."""

import io
from dataclasses import replace

import jax
import pytest

from jaxlin.config.run import Checkpoint, Eval, Log
from jaxlin.config.sources.text import Text
from jaxlin.train.loop import train
from tests.train.helpers import SMALL

LINES = [f"line {i} of the text has {i * i} words\nand an é\n" for i in range(60)]


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Run directory; its data are 60 files, the last 10 of them held out."""
    root = tmp_path_factory.mktemp("finished")
    for i, line in enumerate(LINES):
        name = "held" if i >= 50 else "seen"
        (root / f"{name}{i}.txt").write_text(line * 3, encoding="utf-8")
    data = Text(paths=(f"{root}/seen*.txt",), eval_paths=(f"{root}/held*.txt",))
    cfg = replace(
        SMALL,
        steps=3,
        data=data,
        model=replace(SMALL.model, vocab=None),
        checkpoint=Checkpoint(every=2),
        eval=Eval(every=0, batches=1),
        log=Log(tensorboard=False),
    )
    train(cfg, root / "run", devices=jax.devices()[:1], out=io.StringIO())
    return root / "run"
