"""What is said about a sweep: selection, groups, cells, time, the table."""

import json

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.points import resolve, with_overrides
from jaxlin.study.sweep import live, plan, results
from jaxlin.study.sweep.queue import RUNS, Queue
from jaxlin.study.sweep.status import left, newest, overview, rows
from tests.study.folders import lines, make
from tests.study.sweep.made import POINTS, finished


def look(root):
    sweep, queue = finished(root)
    results.collect(sweep, queue)
    last = sweep.points[3].id
    make(sweep.folder / RUNS / last, [*lines(8), '{"kind": "train", "st'])
    queue.add([last], "running")
    return sweep, overview(sweep, queue, results.read(sweep.folder))


def test_rows_are_cells(tmp_path):
    _, found = look(tmp_path)
    assert rows(found.points) == [
        ["mixer", "pending", "running", "done", "failed", "step", "loss", "left"],
        ["gla", "", "", "2", "", "", "1.1500", ""],
        ["softmax", "", "1", "", "1", "8/20", "1.3750", "6 s"],
    ]
    assert found.headline() == "4 points: 1 running, 2 done, 1 failed; about 6 s left"


def test_the_time_that_is_left(tmp_path):
    sweep, found = look(tmp_path)
    known = results.read(sweep.folder)
    pending = found.points[3]._replace(state="pending", left=None)
    assert left([pending], known, 1) == 14.0  # of a done point in another cell
    assert left([pending, pending], known, 2) == 14.0
    assert left([pending], {}, 1) is None
    shared = found.points[3]._replace(left=12.0, together=3)
    assert left([shared] * 3, known, 1) == 12.0


def test_a_run_without_steps_has_no_loss(tmp_path):
    assert newest(tmp_path) == {}
    make(tmp_path / "a", [{"kind": "start", "step": 0}])
    assert newest(tmp_path / "a") == {}


def test_the_table_as_text_and_drawn(tmp_path):
    from rich.console import Console

    _, found = look(tmp_path)
    text = live.plain(found)
    assert text.splitlines()[2].split() == ["gla", "2", "1.1500"]
    console = Console(width=120, record=True, file=open("/dev/null", "w"))
    with console.file:
        console.print(live.drawn(found, 1))
        shown = " ".join(console.export_text().split())
    assert "1 more cells are not shown" in shown and "softmax" in shown and "gla" not in shown


def test_lines_where_there_is_no_terminal(tmp_path, capsys):
    _, found = look(tmp_path)
    now = [0.0]
    shown = live.Live(lambda: found, clock=lambda: now[0])
    with shown.open():
        shown.tick()
        assert capsys.readouterr().err == ""
        now[0] = live.QUIET + 1
        shown.tick()
        shown.say("done x")
    err = capsys.readouterr().err
    assert "4 points: 1 running" in err and "step 8/20  loss 1.3750" in err and "\x1b" not in err
    assert err.endswith("done x\n")


def test_selection():
    points = resolve(POINTS)
    names = lambda *patterns: [one.point.name for one in plan.select(points, patterns)]  # noqa: E731
    assert names() == [p.name for p in POINTS]
    assert names("gla-*") == names("mixer=gla") == ["gla-seed0", "gla-seed1"]
    assert names("seed=1", "softmax-seed0") == ["gla-seed1", "softmax-seed0", "softmax-seed1"]
    assert names(points[2].id) == ["softmax-seed0"]
    with pytest.raises(ConfigError, match="--only: 'gla-seed7' matches no point; did you mean"):
        names("gla-seed7")
    with pytest.raises(ConfigError, match="'mixr=gla' matches no point; did you mean 'mixer=gla'?"):
        names("mixr=gla")


def test_points_of_one_shape_are_together_where_it_helps_or_is_asked():
    points = resolve(POINTS)
    ids = [one.id for one in points]
    pairs, singles = [tuple(ids[:2]), tuple(ids[2:])], [(id,) for id in ids]
    assert plan.together(points, None, 1, True) == (pairs, [])
    assert plan.together(points, None, 1, False) == (singles, [])
    assert plan.together(points, True, 1, False) == (pairs, [])
    assert plan.together(points, False, 1, True) == (singles, [])
    one_by_one = ["4 points are trained one by one: mesh: takes more than one device"]
    assert plan.together(points, True, 8, True) == (singles, one_by_one)


@pytest.mark.parametrize(
    "word, why",
    [
        ("guard.nonfinite=rewind", "guard: a rewind"),
        ("guard.spike.action=rewind", "guard: a rewind"),
        ("init_from=runs/a", "init_from"),
        ("adapters=lora", "adapters"),
        ("log.wandb=p", "log.wandb"),
        ("mesh.data=2", "mesh: takes more"),
    ],
)
def test_what_has_to_be_trained_one_by_one_is_said(word, why):
    points = resolve(with_overrides(POINTS[:2], [word]))
    groups, said = plan.together(points, True, 1, True)
    assert [len(ids) for ids in groups] == [1, 1]
    assert said[0].startswith(f"2 points are trained one by one: {why}")
    assert plan.together(points, None, 1, True)[1] == []


def test_the_plan_counts_labels_and_states(tmp_path):
    sweep, queue = finished(tmp_path)
    states = queue.states(one.id for one in sweep.points)
    text = plan.describe(sweep.points, states, [("a", "b")])
    assert text == [
        "points  4: 2 done, 1 failed, 1 pending",
        "  mixer: gla (2), softmax (2)",
        "  seed: 0 (2), 1 (2)",
        "to do   2 points, in 1 processes",
    ]


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 5, 7})
    assert plan.shares(2) == (frozenset({0, 1, 2}), frozenset({5, 7}))
    assert plan.shares(1) == plan.shares(6) == ()


def test_events_are_json(tmp_path):
    queue = Queue(tmp_path)
    queue.add(["a"], "failed", 'a "b"\nc')
    (line,) = queue.path.read_text().splitlines()
    assert json.loads(line)["reason"] == 'a "b"\nc'
