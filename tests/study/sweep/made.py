"""Sweep folders written by hand."""

import json

from jaxlin.config.points import product, resolve, seeds
from jaxlin.study.sweep import folder
from jaxlin.study.sweep.queue import RUNS, Queue
from tests.study.folders import lines, make

POINTS = product(
    "tiny", mixer={"gla": "model.mixer=gla(heads=2)", "softmax": "model.pattern=full"},
    seed=seeds(2),
)  # fmt: skip


def begun(root, points=POINTS):
    """A new sweep folder of these points, its file beside it."""
    (root / "points.py").write_text("# points\n")
    sweep, notes = folder.begin(root / "sweep", root / "points.py", resolve(points))
    folder.write(sweep)
    return sweep, notes


def finished(root):
    """A sweep of four: two done, one failed after a few steps, one pending."""
    sweep, _ = begun(root)
    a, b, c, _ = (one.id for one in sweep.points)
    for id, text in ((a, lines()), (b, [*lines(), *tasks()]), (c, lines(4))):
        make(sweep.folder / RUNS / id, text)
    queue = Queue(sweep.folder)
    queue.add([a, b], "done")
    queue.add([c], "failed", "exit code 5: loss nan")
    return sweep, queue


def tasks():
    """Records of two tasks, one with a heat map."""
    grid = {"rows": [0.0, 1.0], "columns": [32, 64], "row": "depth", "column": "length",
            "values": [[1.0, 0.5], [0.25, 0.0]]}  # fmt: skip
    return [
        {"kind": "task", "step": 10, "task": "mqar", "accuracy": 0.25, "exact": 0.1, "examples": 8},
        {"kind": "task", "step": 20, "task": "mqar", "accuracy": 0.75, "exact": 0.5, "examples": 8,
         "by": {"gap": {"4": 1.0, "8": 0.5}}},
        {"kind": "task", "step": 19, "task": "needle", "accuracy": 0.4375, "examples": 8,
         "grid": grid},
    ]  # fmt: skip


def written(sweep):
    """The lines of results.jsonl."""
    text = (sweep.folder / "results.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]
