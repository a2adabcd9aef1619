"""Points of a sweep: grids, what a file may give, and every way in which it is refused at once."""

import subprocess
import sys

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.points import (
    Point,
    problems_of,
    problems_of_factor,
    product,
    resolve,
    seeds,
    with_overrides,
    with_seeds,
)
from jaxlin.config.sweepfile import load

MIXERS = {"gla": "model.mixer=gla(heads=2)", "gated_deltanet": ()}
RATIOS = {"pure": "model.pattern=pure", "3:1": ("model.pattern=3*mixer + attention",)}


def test_a_product_has_every_combination_once():
    found = product("tiny", "log.every=2", mixer=MIXERS, ratio=RATIOS, seed=seeds(3))
    assert len({p.name for p in found}) == len(found) == 12
    first = found[0]
    assert first.name == "gla-pure-seed0" and first.labels["ratio"] == "pure"
    assert first.overrides == (
        "log.every=2", "model.mixer=gla(heads=2)", "model.pattern=pure", "seed=0",
    )  # fmt: skip
    assert found[3].name == "gla-3-1-seed0"
    assert len(resolve(found + product("tiny", mixer={"full": "model.pattern=full"}))) == 13


@pytest.mark.parametrize(
    "levels, found",
    [
        ([1e-3, 3e-3], "lr: found [0.001, 0.003]; allowed: lr={label: 'path=value' or a list"),
        ({1e-3: 1e-3}, "lr: 0.001 stands for 0.001; allowed: lr={label: "),
        ({"a": {"lr": 1}}, "lr: 'a' stands for {'lr': 1}; allowed: lr={label: "),
    ],
)
def test_a_factor_of_another_form(levels, found):
    (problem,) = problems_of_factor("lr", levels)
    assert problem.startswith(f"product(): {found}")


def test_ids_and_hashes_follow_from_the_config():
    a, b, c = resolve(product("tiny", seed=seeds(2)) + [Point("c", "tiny", ("optim.lr=1e-4",))])
    assert a.id == f"seed0-{a.hash[:8]}" and a.hash != b.hash and a.group == b.group
    assert c.group != a.group
    (again,) = resolve([Point("other", "tiny", ("seed=1",), {"x": 1.5})])
    assert again.hash == b.hash


def test_seeds_are_given_once():
    found = with_seeds([Point("a", "tiny", labels={"lr": 1})], 2)
    assert [p.name for p in found] == ["a-seed0", "a-seed1"]
    assert found[1].labels == {"lr": 1, "seed": 1} and found[1].overrides == ("seed=1",)
    for taken in (Point("a", "tiny", ("seed=3",)), Point("a", "tiny", labels={"seed": 3})):
        with pytest.raises(ConfigError, match="--seeds: 1 points have a seed already, such as a"):
            with_seeds([taken], 2)


def test_overrides_for_all_come_in_place_of_a_points_own():
    (found,) = with_overrides([Point("a", "tiny", ("steps=3", "batch=8"))], ["steps=5"])
    assert found.overrides == ("batch=8", "steps=5")


def test_all_bad_points_are_named_at_once():
    given = [
        Point("good", "tiny"),
        Point("typo", "tiny", ("model.mixr=gla",)),
        Point("where", "tyny"),
        Point("GOOD", "tiny", ("seed=1",)),
        Point("same", "tiny", ("seed=0",)),
        Point("warm", "tiny", ("schedule.warmup=99",)),
    ]
    with pytest.raises(ConfigError) as error:
        resolve(given)
    text = str(error.value)
    assert text.startswith("5 problems")
    for part in (
        "point 'typo': model.mixr: no such field; did you mean 'mixer'?",
        "point 'where': 'tyny' is no preset; did you mean 'tiny'?",
        "point 'GOOD': another point has this name",
        "point 'same': has the same config as point 'good'",
        "point 'warm': schedule.warmup: 99 steps of warm-up do not fit into steps=20",
    ):
        assert part in text, text


def test_a_problem_of_many_points_is_said_once():
    points = product("tiny", mixer=MIXERS, seed=seeds(3))
    with pytest.raises(ConfigError) as error:
        resolve(with_overrides(points, ["step=3"]))
    known = "step: no such field; did you mean 'steps'?"
    assert str(error.value) == f"point 'gla-seed0' and 5 more: {known}"


def test_a_sweep_without_points_is_refused():
    with pytest.raises(ConfigError, match="without points"):
        resolve([])


@pytest.mark.parametrize(
    "field, value, part",
    [
        ("name", "a b", "name: found 'a b'"),
        ("name", "../x", "name: found '../x'"),
        ("overrides", "seed=1", "overrides: found 'seed=1'; allowed: a tuple"),
        ("labels", {"x": None}, "labels: found {'x': None}"),
        ("labels", {"x": float("nan")}, "labels: found {'x': nan}"),
    ],
)
def test_a_point_that_is_none(field, value, part):
    point = Point("a", "tiny")
    object.__setattr__(point, field, value)  # the tests' own checks of types would refuse it
    (problem,) = problems_of(point)
    assert part in problem
    assert "of type dict; allowed: Point" in problems_of({"name": "a"})[0]


HEAD = "from jaxlin.config.points import Point\n"
FILES = {
    "def point(): pass": "has no function `points`",
    "points = 3": "has no function `points`",
    "def points(): return 3": "points() gives int; allowed: Points in a list",
    "def points(): return {'a': 1}": "points() gives dict",
    "def points(): return ['a']": "point 1: found 'a' of type str; allowed: Point",
    "def points():\n    yield Point('a', 'tiny')\n    1 / 0": "failed at line 4: ZeroDivisionError",
    "def points(): return nothing": "failed at line 2: NameError",
    "import nothing_of_this_name": "cannot be loaded at line 2: ModuleNotFoundError",
    "raise SystemExit(3)": "cannot be loaded at line 2: SystemExit: 3",
    "def points(): exit()": "points() failed at line 2: SystemExit",
    "def points():\n    yield exit()": "points() failed at line 3: SystemExit",
    "def points(:": "cannot be loaded at line 2: SyntaxError",
}


@pytest.mark.parametrize("text, part", FILES.items())
def test_a_file_that_gives_something_else(text, part, tmp_path):
    file = tmp_path / "points.py"
    file.write_text(HEAD + text)
    with pytest.raises(ConfigError) as error:
        load(file)
    assert str(error.value).startswith(str(file)) and part in str(error.value)


def test_paths_that_are_no_sweep_file(tmp_path):
    (tmp_path / "points.py").write_text(HEAD)
    (tmp_path / "a.json").write_text("{}")
    for path, part in (
        (tmp_path / "none.py", "there is no such file"),
        (tmp_path, f"is a folder; give a sweep file; did you mean {tmp_path / 'points.py'}?"),
        (tmp_path / "a.json", "is no Python file"),
    ):
        with pytest.raises(ConfigError) as error:
            load(path)
        assert part in str(error.value)


def test_points_are_checked_without_jax():
    script = (
        "import sys; sys.modules['jax'] = None\n"
        "from pathlib import Path\n"
        "from jaxlin.config import points, sweepfile, together\n"
        "found = points.resolve(sweepfile.load(Path('examples/sweep.py')))\n"
        "assert len(found) == 10\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
