"""Figures are what Plotly knows, show what was recorded, and stay small."""

from dataclasses import replace

import plotly.graph_objects as go
import pytest

from jaxlin.study.figures import curves, loss, name
from jaxlin.study.layers import along_training, by_depth
from jaxlin.study.runs import read
from tests.study.folders import lines, make, stats


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return read([make(root / "a", lines(80)), make(root / "b", lines(12))])


def everything(runs):
    return [*curves(runs), *by_depth(runs), *along_training(runs[0], 0)]


def test_every_property_is_one_that_plotly_has(runs):
    found = everything(runs)
    for figure in found:
        go.Figure(figure.data, figure.layout)
    with pytest.raises(ValueError):  # what is caught
        go.Figure([found[0].data[0] | {"lines": {}}], found[0].layout)


def test_each_figure_has_its_own_name_and_both_runs(runs):
    found = everything(runs)
    assert len({figure.id for figure in found}) == len(found) == 7 + 5 + 5
    for figure in curves(runs):
        if figure.id != "goodput":
            assert {"a", "b"} <= {trace["name"] for trace in figure.data}, figure.id


def test_many_points_are_smoothed_over_what_was_logged(runs):
    faint, thick, held_out, *_ = loss(runs).data
    assert faint["opacity"] < 1 and faint["y"][0] == 4.0 and len(thick["y"]) == 80
    assert held_out["x"] == [40, 80] and held_out["name"] == "a held out"
    assert len(loss(runs[1:]).data) == 2  # twelve points are drawn as they are


def test_goodput_adds_up(runs):
    (figure,) = [f for f in curves(runs) if f.id == "goodput"]
    assert {trace["name"]: trace["customdata"] for trace in figure.data} == {
        "step": [40.0, 6.0],
        "compile": [4.0, 4.0],
    }
    assert sum(trace["x"][1] for trace in figure.data) == pytest.approx(100, abs=0.01)


def test_layers_by_depth_and_along_training(runs):
    half_life = next(f for f in by_depth(runs) if f.id == "depth-half_life")
    (first, second) = half_life.data
    layer = stats(80)["layers"]["1"]["half_life"]
    assert first["y"][1] == layer["q50"]
    assert first["error_y"]["array"][1] == pytest.approx(layer["q95"] - layer["q50"])
    assert second["x"] == [0.08, 1.08]
    along = next(f for f in along_training(runs[0], 0) if f.id == "run0-half_life")
    assert [trace["name"] for trace in along.data] == ["layer 0 gla", "layer 1 gla"]
    assert along.data[1]["x"] == [40, 80] and along.data[1]["y"][1] == layer["q50"]


def test_an_infinite_half_life_is_no_point(tmp_path):
    record = stats(5)
    record["layers"]["0"]["half_life"]["q95"] = None
    record["layers"]["1"]["half_life"]["q50"] = None
    (run,) = read([make(tmp_path / "a", [{"kind": "start", "step": 0}, record])])
    figure = next(f for f in by_depth([run]) if f.id == "depth-half_life")
    assert figure.data[0]["x"] == [0] and figure.data[0]["error_y"]["array"] == [0]
    assert figure.data[0]["error_y"]["arrayminus"][0] > 0


def test_long_runs_are_thinned(tmp_path):
    (run,) = read([make(tmp_path / "a", lines(5000))])
    assert max(len(trace["x"]) for figure in curves([run]) for trace in figure.data) <= 2000


def test_nothing_recorded_nothing_drawn(runs):
    empty = replace(runs[0], records={}, seconds={})
    assert everything([empty]) == []


def test_names_are_no_markup_for_plotly():
    assert name("<a href='x'>&") == "&lt;a href='x'&gt;&amp;"
