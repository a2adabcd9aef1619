"""sweep.json: written, read back, gone on with, refused."""

import json

import pytest

from jaxlin.config.errors import CheckpointError, ConfigError
from jaxlin.config.points import Point, resolve, with_overrides
from jaxlin.study.sweep import folder
from jaxlin.study.sweep.queue import Queue
from tests.study.sweep.made import POINTS, begun, finished


def again(root, points):
    return folder.begin(root / "sweep", root / "points.py", resolve(points))


def test_written_and_read_back(tmp_path):
    sweep, notes = begun(tmp_path)
    assert notes == []
    raw = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert raw["format"] == 1 and len(raw["file_sha256"]) == 64 and raw["versions"]["jaxlin"]
    assert set(raw["points"][0]) == {"id", "name", "preset", "overrides", "labels", "hash"}
    assert [one.id for one in folder.read(tmp_path / "sweep").points] == [
        one.id for one in sweep.points
    ]


def test_the_same_points_go_on_and_pending_ones_may_change(tmp_path):
    sweep, _ = finished(tmp_path)
    assert again(tmp_path, POINTS)[1] == []
    more = [*POINTS[:3], Point("new", "tiny", ("optim.lr=1e-4",))]
    folder.write(again(tmp_path, more)[0])
    assert folder.read(tmp_path / "sweep").points[3].point.name == "new"


def test_results_of_other_points_are_refused(tmp_path):
    finished(tmp_path)
    before = (tmp_path / "sweep" / "sweep.json").read_bytes()
    with pytest.raises(ConfigError) as error:
        again(tmp_path, with_overrides(POINTS, ["optim.lr=1e-4"]))
    text = str(error.value)
    for part in (
        "holds the results of other points; nothing was written. 2 of the 2 points",
        "gla-seed0: tiny model.mixer=gla(heads=2) seed=0 -> tiny model.mixer=gla(heads=2)",
        "optim.lr=1e-4",
        "Name a new folder with --out",
    ):
        assert part in text, text
    with pytest.raises(ConfigError, match="gla-seed0: there is no such point now"):
        again(tmp_path, POINTS[2:])
    assert (tmp_path / "sweep" / "sweep.json").read_bytes() == before


def test_other_code_is_told(tmp_path):
    finished(tmp_path)
    path = tmp_path / "sweep" / "sweep.json"
    raw = json.loads(path.read_text())
    raw["versions"]["jax"], raw["git"] = "0.0.1", {"commit": "a" * 40, "changed": False}
    path.write_text(json.dumps(raw))
    (note,) = again(tmp_path, POINTS)[1]
    assert (
        "begun by other code" in note and "jax 0.0.1 -> " in note and "commit aaaaaaaaaaaa" in note
    )


def test_code_that_makes_another_config_is_refused(tmp_path):
    """As if a default had changed since."""
    finished(tmp_path)
    path = tmp_path / "sweep" / "sweep.json"
    path.write_text(path.read_text().replace("model.pattern=full", "model.pattern=pure"))
    with pytest.raises(ConfigError, match="other configs of 2 points .* such as softmax-seed0"):
        folder.read(tmp_path / "sweep")


def test_folders_of_something_else(tmp_path):
    (tmp_path / "points.py").touch()
    (tmp_path / "sweep").mkdir()
    assert again(tmp_path, POINTS)[1] == []  # an empty one is taken
    (tmp_path / "sweep" / ".sweep.json.abc.tmp").write_text("{")
    assert again(tmp_path, POINTS)[1] == []  # also what a kill at the beginning leaves
    (tmp_path / "sweep" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="exists and is no sweep folder"):
        again(tmp_path, POINTS)
    with pytest.raises(CheckpointError, match="is no sweep folder: it has no sweep.json"):
        folder.read(tmp_path / "sweep")
    below = tmp_path / "sweep" / "thesis.txt" / "a" / "b"
    with pytest.raises(ConfigError, match="--out: .* cannot be made: .*thesis.txt is a file"):
        folder.begin(below, tmp_path / "points.py", resolve(POINTS))


@pytest.mark.parametrize(
    "text, part",
    [
        ("{", "is not JSON"),
        ("[]", "not written by jaxlin"),
        ('{"format": 99, "points": []}', "upgrade jaxlin"),
        ('{"format": 1, "points": [{"id": 3}]}', "its points are not written by jaxlin"),
    ],
)
def test_damaged(tmp_path, text, part):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(CheckpointError, match=part):
        folder.read(tmp_path)


def test_the_default_folder_is_named_after_the_files(tmp_path):
    for name, wanted in (("points", "sweeps/hybrid"), ("small", "sweeps/hybrid_small")):
        assert str(folder.default_folder(tmp_path / "hybrid" / f"{name}.py")) == wanted


def test_a_queue_of_points_that_are_gone_is_no_obstacle(tmp_path):
    sweep, _ = begun(tmp_path)
    Queue(sweep.folder).add(["old-12345678"], "failed", "x")
    assert again(tmp_path, POINTS)[1] == []
