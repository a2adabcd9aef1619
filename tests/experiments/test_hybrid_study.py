"""The hybrid study: how many points its grids have, and its card against its results."""

import json
from pathlib import Path

import pytest

from experiments.hybrid_study import card
from jaxlin.config.sweepfile import load
from jaxlin.study.grid.read import read

HERE = Path(card.__file__).parent
COUNTS = {"points.py": 114, "small.py": 114, "paper.py": 62}


@pytest.fixture(scope="module")
def study():
    return read(card.RESULTS)


@pytest.mark.parametrize("file", COUNTS)
def test_points(file):
    points = load(HERE / file)
    assert len({point.name for point in points}) == len(points) == COUNTS[file]


def test_every_point_has_its_result(study):
    said = ("name", "preset", "overrides", "labels")
    planned = [
        {"name": p.name, "preset": p.preset, "overrides": list(p.overrides), "labels": p.labels}
        for p in load(HERE / "points.py")
    ]
    assert [{field: point[field] for field in said} for point in study.points] == planned
    assert len(study.of("done")) == COUNTS["points.py"]


def test_all_runs_are_of_one_code_as_it_was_committed(study):
    made = {json.dumps([line["git"], line["versions"]]) for line in study.lines.values()}
    assert len(made) == 1 and not json.loads(made.pop())[0]["changed"]


def test_the_card_shows_the_results(study):
    text = card.CARD.read_text()
    shown = card.blocks(study)
    assert all(f"<!-- {name} -->" in text for name in shown)
    assert card.fill(text, shown) == text


def test_another_figure_is_another_card(study, tmp_path):
    for name in ("sweep.json", "results.jsonl"):
        (tmp_path / name).write_bytes((card.RESULTS / name).read_bytes())
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    lines[0]["final"]["task.mqar.accuracy"] += 0.5
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert card.blocks(read(tmp_path))["scores"] != card.blocks(study)["scores"]
