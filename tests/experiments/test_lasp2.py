"""The study of LASP-2: points, formulas against the goals, texts against the results."""

import json
from pathlib import Path

import pytest

from experiments.lasp2 import card, goals, results, scaling
from experiments.lasp2.compiling import point_of
from experiments.lasp2.measure import measure
from experiments.lasp2.points import LINEAR, LONG, V5E, V5P, Point, by_formula, points
from experiments.lasp2.tables import mib, tables
from jaxlin.config.errors import ConfigError
from jaxlin.parallel.topology import named
from kernels_pallas.exchange import METHODS
from kernels_pallas.exchange.choose import becomes_all_reduce
from kernels_pallas.exchange.softmax import SOFTMAX_METHODS
from kernels_pallas.hardware import CHIPS
from tests.kernels_pallas.aot import aot

MIB = 2**20
HERE = Path(card.__file__).parent
RESULTS = HERE / "results.jsonl"


@pytest.fixture(scope="module")
def found():
    return card.in_order(results.load(RESULTS))


def test_points_are_well_formed():
    every = points()
    assert len({point.id for point in every}) == len(every)
    for point in every:
        allowed = SOFTMAX_METHODS if point.layer == "softmax" else METHODS
        assert point.method in allowed
        assert 8 <= named(point.topology).devices <= 512
        assert point_of(json.loads(json.dumps(point._asdict()))) == point


def test_every_exchange_is_compiled_on_every_slice():
    ids = {point.id for point in points()}
    assert {Point(s, "linear", m).id for s in V5E + V5P for m in LINEAR} <= ids


# One state a device is 1 MiB, in 2048 rows; its decays fill one more, which travels forward only.
ROW = 1 / 2048
BOTH_WAYS = 2 + ROW
FORMULAS = {
    Point(V5E[0], "linear", "all_gather"): 7 * BOTH_WAYS,
    Point(V5E[-1], "linear", "all_gather"): 255 * BOTH_WAYS,
    Point(V5E[-1], "linear", "hierarchical"): 30 * BOTH_WAYS,  # 60.01: just above the goal
    Point(V5E[-1], "linear", "hierarchical", transition="shared"): 60,
    Point(V5P[-1], "linear", "hierarchical"): 21 * BOTH_WAYS,
    Point(V5P[-1], "linear", "hierarchical", factors=(16, 32)): 46 * BOTH_WAYS,
    Point(V5E[-1], "linear", "log_step"): 9 * 2 * (1 + ROW),
    Point(V5E[0], "delta", "all_gather"): 7 * 4,
    # Keys and values of a slice are 64 MiB; they pass by twice, their gradients once in float32.
    Point(V5E[0], "softmax", "ring"): 7 * 64 * 4,
    Point(V5E[0], "softmax", "ring", LONG): 8 * 7 * 64 * 4,
}


@pytest.mark.parametrize("point", FORMULAS, ids=lambda point: point.id)
def test_formula_of_a_layer(point):
    where = named(point.topology)
    assert by_formula(point, where.devices, where.dimensions) == FORMULAS[point] * MIB


def test_an_unknown_exchange_has_no_formula():
    with pytest.raises(ValueError, match="no exchange 'gossip'; wanted of all_gather"):
        by_formula(Point(V5E[0], "linear", "gossip"), 8, (4, 2))


def test_the_planner_knows_which_gathers_become_all_reduces(found):
    chips = {chip.name: chip for chip in CHIPS.values()}
    seen = set()
    for record in found.values():
        point = point_of(record["point"])
        if (point.layer, point.method) == ("linear", "all_gather"):
            said = becomes_all_reduce(chips[point.chip], record["ranks"], tuple(record["torus"]))
            kinds = {one["kind"] for one in record["collectives"]}
            assert kinds == ({"all-reduce"} if said else {"all-gather"}), point.id
            seen.add((point.chip, said))
    assert seen >= {("v5p", False), ("v5p", True), ("tpu7x", False), ("tpu7x", True)}


def test_bytes_by_formula_alone_are_marked():
    record = {"collectives": [], "census": 0, "formula": 2 * MIB}
    assert mib(record) == "2.0 f" and goals.received(record) == 2 * MIB
    other = {"collectives": [{"count": 1}], "census": 2 * MIB, "formula": MIB}
    assert mib(other) == "2.0 (1.0)"


def test_expected_figures_are_those_of_the_results(found):
    expected = json.loads((HERE / "expected.json").read_text())
    assert expected["measured"] == json.loads(json.dumps(card.measured(found)))
    assert found and not any("failed" in record for record in found.values())


def test_the_card_shows_the_results(found):
    published = json.loads((HERE / "expected.json").read_text())["published"]
    text = (HERE / "README.md").read_text()
    assert card.filled(text, found, published) == text
    for table in tables(found):
        assert f"<!-- {table.id} -->" in text


def test_plots_and_page_show_the_results(found, tmp_path):
    for name in ("results.jsonl", "expected.json"):
        (tmp_path / name).write_text((HERE / name).read_text())
    card.write(tmp_path)
    written = [path for path in tmp_path.iterdir() if path.suffix in (".svg", ".html")]
    assert len(written) > 3
    for path in written:
        assert path.read_text() == (HERE / path.name).read_text()
        assert path.stat().st_size < MIB
    assert "<script" not in (tmp_path / "page.html").read_text()


def test_a_goal_missed_is_shown_so():
    point = Point(V5E[-1], "linear", "hierarchical")
    gathers = [{"kind": "all-gather", "count": 4, "in_flight": False}]
    record = {"census": 61 * MIB, "formula": 61 * MIB, "collectives": gathers}
    row, flight = goals.goals({point.id: record})
    assert not flight.met and flight.measured == "0 of 4" and flight.verdict == "missed by 4"
    assert not row.met and row.verdict == "missed by 1.00 MiB (1.7 %)"
    row, _ = goals.goals({point.id: record | {"census": 60 * MIB}})
    assert row.met and row.verdict == "met"


def test_a_stopped_study_goes_on(tmp_path, monkeypatch, capsys):
    """What is there is not compiled again; a torn line and a failure are."""

    def versions():
        return {"jax": "1"}

    chosen = scaling.select(["v5e:2x4 linear"])[:3]
    asked = []

    def instead(point, timeout):
        asked.append(point.id)
        figures = {"census": MIB, "formula": MIB, "cycles": 1, "temporaries": MIB, "flops": 1}
        rest = {"ranks": 8, "seconds": 1.0, "versions": versions(), "collectives": []}
        return {"id": point.id, "point": point._asdict(), **figures, **rest}

    monkeypatch.setattr(scaling, "measure", instead)
    monkeypatch.setattr(scaling, "require_libtpu", lambda: None)
    monkeypatch.setattr(scaling, "versions", versions)
    path = tmp_path / "results.jsonl"
    results.append(path, instead(chosen[0], 1))
    results.append(path, {"id": chosen[1].id, "failed": "stopped", "versions": versions()})
    path.write_text(path.read_text() + '{"id": "tor')
    asked.clear()
    scaling.run(chosen, tmp_path)
    assert asked == [point.id for point in chosen[1:]]
    assert set(results.load(path)) == {point.id for point in chosen}
    assert "2/2" in capsys.readouterr().out
    scaling.run(chosen, tmp_path)
    assert len(asked) == 2


def test_figures_of_two_compilers_are_not_mixed(tmp_path):
    record = {"id": "a", "versions": {"jax": "0.1"}}
    with pytest.raises(ConfigError, match="holds figures of jax 0.1; installed are jax 0.2"):
        results.check_versions({"a": record}, {"jax": "0.2"}, tmp_path)


def test_a_word_that_no_point_has(capsys):
    assert scaling.main(["--points", "v9:2x2"]) == 2
    assert "'v9:2x2' is in the id of no point" in capsys.readouterr().err


@aot
def test_a_small_point_compiles_to_the_expected_bytes(found):
    point = Point(V5E[0], "linear", "hierarchical")
    record = measure(point, 300)
    expected = json.loads((HERE / "expected.json").read_text())["measured"]["points"][point.id]
    assert record["census"] == record["formula"] == expected["census"]
    names = ("kind", "ranks", "count", "bytes", "in_flight")
    shown = [[one[name] for name in names] for one in record["collectives"]]
    there = [[one[name] for name in names] for one in found[point.id]["collectives"]]
    assert shown == there


@aot
def test_what_an_op_refuses_is_a_result():
    record = measure(Point(V5E[2], "softmax", "ulysses"), 300)
    assert "32 devices do not divide k's 16" in record["refused"]
