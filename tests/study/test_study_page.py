"""The page of a study, from made-up records alone: what is on it, and what is refused."""

import csv
import io
import json
import re
from pathlib import Path

import plotly.graph_objects as go
import pytest

from jaxlin.config.errors import CheckpointError, ConfigError, DataError
from jaxlin.study.findings import APPEARS, NOT
from jaxlin.study.grid import compare, files, page, pictures, plots, published, read, tables
from jaxlin.study.grid.cells import Cell, grids, said
from jaxlin.study.grid.sheets import Sheet, latex
from jaxlin.study.grid.verdicts import claims
from jaxlin.study.scores import Score
from tests.study import sweeps
from tests.study.test_page import EVIL, Elements

PUBLISHED = Path(__file__).parents[2] / "experiments/hybrid_study/published.json"
COMMAND = ["jaxlin", "study", "report", "x"]


@pytest.fixture(scope="module")
def theirs():
    return published.read(PUBLISHED)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Of 114 points one failed and four have no result."""
    points = sweeps.plan()
    lines = [sweeps.line(p) for p in points[:-4]]
    lines[3] |= {"status": "failed", "reason": "exit code 5: loss nan", "final": {}, "curves": {}}
    return read.read(sweeps.make(tmp_path_factory.mktemp("sweep") / "s", points, lines))


@pytest.fixture(scope="module")
def report(study, theirs):
    return page.report(study, theirs, COMMAND)


@pytest.fixture(scope="module")
def sheets(report):
    return {sheet.id: sheet for sheet in report.sheets}


def test_every_part_is_there(report):
    heads = re.findall(r"<h2>(.*?)</h2>", report.page)
    assert heads == [
        "Which of the study&#x27;s findings appear", "Scores: task mqar", "Scores: task lm",
        "Published figures beside ours", "Cost against quality", "Learning curves: task mqar",
        "Learning curves: task lm", "Needles", "Layers of each model",
        "What failed and what is missing", "Commands and versions",
    ]  # fmt: skip
    text = "".join(Elements(report.page).words)
    assert "exit code 5: loss nan" in text and "lm-softmax-full-seed2" in text
    assert "jaxlin sweep experiments/hybrid_study/points.py" in text and "jax 0.12.0" in text
    assert "jaxlin train hybrid_tiny model.mixer=gla seed=1" in text
    assert "the numbers cannot" in text and "340M and 1.3B parameters" in text


def test_scores_are_means_over_seeds_with_their_spread(sheets, study):
    table = sheets["task-mqar-task-mqar-accuracy"]
    assert table.header == ["ratio", *sweeps.MIXERS, "softmax", "mean"]
    by_ratio = {row[0]: row[1:] for row in table.rows}
    assert list(by_ratio) == ["pure", "3:1", "1:1", "full"]
    assert by_ratio["pure"][1] == Score(pytest.approx(0.26), pytest.approx(0.004), 3)
    assert by_ratio["3:1"][0].n == 2  # one of its runs failed
    assert by_ratio["full"][:-2] == [None] * 6 and by_ratio["full"][-1] is None
    assert by_ratio["full"][-2].mean == pytest.approx(0.96)
    assert by_ratio["pure"][-1] == pytest.approx(0.35)  # over the mixers
    assert table.shown(by_ratio["pure"][1]) == "0.260 ± 0.004 (3)"


def test_findings_are_computed_from_the_records(study, theirs, sheets):
    recall, loss, order = claims(grids(study), theirs)
    assert recall.verdict == loss.verdict == APPEARS
    assert order.verdict == f"{APPEARS} in 1 of 2; {NOT} in 1 of 2"
    assert [len(c.theirs) for c in (recall, loss, order)] == [1, 1, 2]
    (_, found), *_ = order.theirs[1:]  # RULER
    by_ratio = {row[0]: row[2] for row in found.rows}
    assert by_ratio["3:1"] == pytest.approx(1.0) and by_ratio["6:1"] == pytest.approx(0.4)
    assert found.verdict == "cannot be told"  # one seed
    assert any(id.startswith("finding-recall") for id in sheets)


def test_state_tracking_is_no_recall_and_rulers_mean_stands_for_its_parts(study):
    (grid, *_) = grids(study)
    cell = next(iter(grid.cells.values()))
    extra = {f"task.{name}.accuracy": 0.5 for name in ("parity", "group_s5", "ruler", "ruler_vt")}
    cell.lines = [line | {"final": line["final"] | extra} for line in cell.lines]
    assert grid.recall() == ["task.mqar.accuracy", "task.ruler.accuracy"]
    assert "task.parity.accuracy" in grid.metrics()


def test_orders_and_gains_stand_beside_theirs(study, theirs):
    pair = next(p for p in compare.pairs(theirs, grids(study)) if p.metric.startswith("task."))
    rows = {(row[0], row[1]): row[2:] for row in compare.orders(pair)}
    assert set(rows) == {(r, m) for r in ("pure", "3:1")
                         for m in ("deltanet", "gated_deltanet", "gla", "hgrn2")}  # fmt: skip
    ours, rank, their, their_rank, differs, less = rows["pure", "gated_deltanet"]
    assert (rank, their, their_rank, differs, less) == (1, 0.356, 1, compare.SAME, None)
    assert rows["pure", "gla"][1:5] == [2, 0.144, 4, compare.OTHER]
    gains = {(row[0], row[1]): row[2:] for row in compare.trends(pair)}
    assert gains["gla", "3:1"][2:] == [pytest.approx(0.188), compare.SAME]
    assert gains["gla", "full"][0] == pytest.approx(0.96 - 0.44)
    sheet = tables.orders(pair, dict(theirs.names))
    assert sheet and "not numbers" in sheet.note
    assert [sheet.rows[i][6] for i in sheet.marked] == [compare.OTHER] * len(list(sheet.marked))


def test_order_within_the_spread_is_not_another_order():
    their = published.Table(id="t", title="", source="", scale="", rows_are="ratio",
                            columns_are="mixer", columns=("a", "b"), rows={"pure": (0.5, 0.4)},
                            measures="recall")  # fmt: skip

    def order(a, b):
        values = {"a": {"pure": a}, "b": {"pure": b}}
        theirs = {"a": {"pure": [0.5]}, "b": {"pure": [0.4]}}
        pair = compare.Pair(their, grids_(), "task.x.accuracy", theirs, values, False)
        return [row[6] for row in compare.orders(pair)]

    assert order([0.5, 0.51], [0.3, 0.31]) == [compare.SAME] * 2
    assert order([0.3, 0.31], [0.5, 0.51]) == [compare.OTHER] * 2
    assert order([0.3, 0.6], [0.4, 0.7]) == [compare.NOISE] * 2


def grids_():
    from jaxlin.study.grid.cells import Grid

    return Grid({})


def test_numbers_are_compared_only_where_they_mean_the_same(tmp_path, theirs):
    points = [p | {"labels": p["labels"] | {"scale": "1b3"}} for p in sweeps.plan(("mqar",))]
    lines = [sweeps.line(p) for p in points]
    for line in lines:
        line["final"]["task.ruler.accuracy"] = line["final"]["task.mqar.accuracy"]
    found = grids(read.read(sweeps.make(tmp_path / "s", points, lines)))
    pairs = {p.metric: p for p in compare.pairs(theirs, found)}
    assert not pairs["task.mqar.accuracy"].comparable and pairs["task.ruler.accuracy"].comparable
    rows = {tuple(row[:2]): row for row in compare.orders(pairs["task.ruler.accuracy"])}
    assert rows["pure", "gla"][-1] == pytest.approx(0.44 - 0.144)
    sheet = tables.orders(pairs["task.ruler.accuracy"], dict(theirs.names))
    assert sheet and sheet.header[-1] == "ours - theirs"


def test_published_figures_agree_with_themselves(theirs):
    """Printed means are the means of what is printed, but where the notes say otherwise."""
    found = {table.id: table for table in theirs.tables}
    for id in ("lm_best_340m", "lm_best_1b3"):
        for *scores, mean in found[id].rows.values():
            assert sum(scores) / 6 == pytest.approx(mean, abs=1.1e-3)
    for id in ("lm_by_ratio", "recall_by_ratio"):
        for *scores, mean in found[id].rows.values():
            assert sum(scores) / len(scores) == pytest.approx(mean, abs=1.1e-3)
    for name, (mk, mq, mv, s, words, qa, vt, mean) in found["recall_subtasks"].rows.items():
        ruler = (3 * s + 3 * mk + mq + mv + vt + 2 * words + 2 * qa) / 13
        printed = 0.390 if name == "Transformer" else mean
        assert ruler == pytest.approx(printed, abs=1.1e-3)


def test_figures_are_what_plotly_knows(study):
    grid, other = grids(study)
    every = [
        *(plots.by_share(grid, metric) for metric in grid.metrics()),
        *plots.learning(grid), *plots.learning(other),
        *plots.pareto(grid, "task.mqar.accuracy"),
    ]  # fmt: skip
    for figure in every:
        go.Figure(figure.data, figure.layout)
    assert len({figure.id for figure in every}) == len(every) == 2 + 14 + 6 + 2
    share = every[1]
    assert [len(t["x"]) for t in share.data] == [3] * 6 + [1] and share.data[0]["x"] == [0, 25, 50]


def test_flops_and_bytes_that_differ_are_costs_in_turn(study):
    grid = grids(study)[0]
    lines = [cell.lines[0] for cell in grid.cells.values()]
    for i, line in enumerate(lines):
        old = line["accounting"]
        line["accounting"] = {"forward_flops": i + 1, "flops": i + 2, "same_flops": 7, "x": i,
                              "kv": {"bytes": [i, i + 1]}}  # fmt: skip
        line["was"] = old
    assert plots.costs(grid) == ["forward_flops", "kv.bytes.0", "flops", "kv.bytes.1"]
    figures = {figure.id.split("accuracy-")[1]: figure
               for figure in plots.pareto(grid, "task.mqar.accuracy")}  # fmt: skip
    assert figures["flops"].layout["xaxis"]["type"] == "log"
    assert figures["kv-bytes-0"].layout["xaxis"]["type"] == "linear"  # one of them is 0
    for line in lines:
        line["accounting"] = line.pop("was")


def test_a_front_is_what_nothing_beats():
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.9), (3.0, 0.9), (4.0, 0.95), (1.0, 0.2)]
    assert plots.front(points, more=True) == [(1.0, 0.5), (2.0, 0.9), (4.0, 0.95)]
    assert plots.front(points, more=False) == [(1.0, 0.2)]


def test_curves_of_other_steps_are_averaged_where_both_are_known():
    found = plots.mean_curve([[(0, 0.0), (10, 10.0)], [(5, 7.0), (8, None), (20, 7.0)]])
    assert [step for step, _ in found] == [5, 10]
    assert [s.mean for _, s in found] == [6.0, 8.5] and found[0][1].n == 2
    assert plots.mean_curve([[(1, None)]]) == [] == plots.mean_curve([])


def test_layers_and_heat_maps_need_no_script(study):
    grid = grids(study)[0]
    drawing = pictures.layouts([grid])
    assert drawing and drawing.count('class="square"') == 4 * 19 + 7  # and the legend
    assert "3 gla, softmax" in drawing
    maps = pictures.heat_maps(grid)
    assert len(maps) == 19 and 'class="heat"' in maps[0] and "mean of 3 seeds" in maps[0]
    means = pictures.mean_map([sweeps.grid_of(0.2), sweeps.grid_of(0.6)])
    assert means == [[pytest.approx(0.4), pytest.approx(0.2)], [pytest.approx(0.4 / 3), None]]


def test_share_of_softmax_is_as_built():
    assert [said(r) for r in ("pure", "3:1", "24:1", "full")] == [0.0, 0.25, 0.04, 1.0]
    assert Cell("gla", "3:1", 1, [{"layers": ["gla", "softmax"]}]).share == 0.5
    assert Cell("gla", "3:1").share == 0.25


def test_tables_as_csv(sheets):
    rows = list(csv.reader(io.StringIO(sheets["task-mqar-task-mqar-accuracy"].csv())))
    assert rows[0][:5] == ["ratio", "hgrn mean", "hgrn sd", "hgrn n", "retnet mean"]
    assert {len(row) for row in rows} == {1 + 7 * 3 + 1}
    assert float(rows[1][4]) == pytest.approx(0.26) and rows[1][6] == "3"
    assert rows[4][1:4] == ["", "", ""]


BOOKTABS = re.compile(
    r"\\begin\{tabular\}\{([lr]+)\}\n\\toprule\n(.*)\n\\midrule\n(.*)\n\\bottomrule\n"
    r"\\end\{tabular\}\n\\end\{table\}\n$", re.DOTALL,
)  # fmt: skip


def test_tables_in_latex(report):
    """Each row has as many cells as columns; nothing that TeX would obey comes from the data."""
    for sheet in report.sheets:
        text = sheet.latex()
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        found = BOOKTABS.search(text)
        assert found, sheet.id
        columns, head, body = found.groups()
        for row in [head, *body.split("\n")]:
            assert row.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row
        assert not re.search(r"(?<!\\)[%#]", text.split("\n", 1)[1]), sheet.id


def test_text_that_tex_would_obey():
    assert latex("a_b & 50% \\input{x} $1$ ±") == (
        r"a\_b \& 50\% \textbackslash{}input\{x\} \$1\$ $\pm$"
    )
    assert latex("two\nlines") == "two lines"
    signs = Sheet("x", "t", "", ["a", "b"], [[-1e-9, Score(-1e-9, 0.0, 2)]])
    assert signs.latex().count("-0.000") == 0 and str(signs.html()).count("-0.000") == 0
    empty = Sheet("x", "t", "", ["a", "b"], [[None, 1.0]])
    assert r"– & 1.000" not in empty.latex() and r"-- & 1.000 \\" in empty.latex()


def test_text_of_records_makes_no_element(tmp_path):
    points = sweeps.plan(("mqar",), 2, (EVIL, "gla"))
    lines = [sweeps.line(p) | {"versions": {EVIL: EVIL}} for p in points]
    lines[0] |= {"status": "failed", "reason": EVIL}
    for line in lines:
        line["final"][f"task.{EVIL}"] = 1.0
        line["grids"][f"task.{EVIL}"] = sweeps.grid_of(0.5) | {"row": EVIL, "rows": [EVIL, 1]}
    folder = sweeps.make(tmp_path / "s", points, lines, command=["jaxlin", EVIL], file=EVIL)
    found = Elements(page.report(read.read(folder), None, COMMAND).page)
    assert "img" not in {tag for tag, _ in found.tags} and len(found.scripts) == 3
    assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on")]
    assert "window.evil = 1" in "".join(found.words)
    for tag, attributes in found.tags:
        assert not {"src", "href", "srcset", "action", "data"} & attributes.keys(), tag


def test_files_are_replaced_and_only_its_own(tmp_path, report):
    out = tmp_path / "page.html"
    folder = files.write(out, report)
    names = {path.name for path in folder.iterdir()}
    assert {"points.csv", "points.tex", "tables.json"} <= names
    (folder / "mine.txt").write_text("mine")
    again = files.write(out, page.Report(report.page, report.sheets[:1]))
    kept = {path.name for path in again.iterdir()}
    assert kept == {"mine.txt", "tables.json", f"{report.sheets[0].id}.csv",
                    f"{report.sheets[0].id}.tex"}  # fmt: skip
    other = tmp_path / "other_tables"
    other.mkdir()
    with pytest.raises(ConfigError, match="no folder of tables"):
        files.write(tmp_path / "other.html", report)
    assert not (tmp_path / "other.html").exists() and not list(other.iterdir())


def test_a_sweep_without_a_finished_point_has_a_page(tmp_path):
    folder = sweeps.make(tmp_path / "s", sweeps.plan(("lm",), 1), [])
    text = page.report(read.read(folder), None, COMMAND).page
    assert "No run of it is done." in text and "No run of this sweep measures it." in text
    assert "No published figures were given" in text and len(text) < 100_000


def one(**changes):
    """A sweep of one point with a result that is changed."""
    point = sweeps.plan(("mqar",), 1)[0]
    return [point], [{k: v for k, v in (sweeps.line(point) | changes).items() if v is not ...}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hash": "f" * 64}, r"come from other code or another sweep: 1 of 1 .* has hash ffffffff"),
        ({"id": "other-12345678"}, "which is no point of sweep.json"),
        ({"final": ...}, "line 1: has no 'final': results of another format"),
        ({"final": [1]}, r"final: found \[1\]; allowed: dict; make it again with `jaxlin sweep"),
        ({"status": "gone"}, "status: found 'gone'; allowed: 'done', 'failed'"),
        ({"curves": {"x": [[1]]}}, r"curves.x: allowed: a list of \[step, value\]"),
        ({"grids": {"x": {"rows": [1]}}}, "grids.x: allowed: rows, columns, and values"),
        ({"layers": "gla"}, "layers: found 'gla'; allowed: list or none"),
    ],
)
def test_results_that_are_none(changes, said, tmp_path):
    points, lines = one(**changes)
    with pytest.raises(CheckpointError, match=said):
        read.read(sweeps.make(tmp_path / "s", points, lines))


def test_folders_that_are_no_sweeps(tmp_path):
    with pytest.raises(CheckpointError, match="is no sweep folder: it has no sweep.json"):
        read.read(tmp_path)
    points, lines = one()
    folder = sweeps.make(tmp_path / "s", points, [*lines, *lines])
    with pytest.raises(CheckpointError, match="line 2: point .* has a result in line 1 already"):
        read.read(folder)
    (folder / "results.jsonl").write_text('{"id": ')
    with pytest.raises(CheckpointError, match="line 1: is not JSON.*; make it again with"):
        read.read(folder)
    (folder / "results.jsonl").unlink()
    with pytest.raises(CheckpointError, match="has no results.jsonl"):
        read.read(folder)
    with pytest.raises(CheckpointError, match="format: found 2; this jaxlin reads .* format 1"):
        read.read(sweeps.make(folder, points, lines, format=2))
    with pytest.raises(CheckpointError, match="points: found none"):
        read.read(sweeps.make(folder, [], lines))
    (folder / "sweep.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="format: found no object"):
        read.read(folder)


def test_points_that_say_neither_mixer_nor_ratio(tmp_path):
    points, lines = one()
    points[0]["labels"] = {"lr": 1e-3}
    with pytest.raises(ConfigError, match="no point has the labels 'mixer' and 'ratio'.*found lr"):
        read.read(sweeps.make(tmp_path / "s", points, lines))
    points[0]["labels"] = {"mixer": ["gla"], "ratio": "pure"}
    with pytest.raises(CheckpointError, match=r"labels.mixer: found \['gla'\]; allowed: text or a"):
        read.read(sweeps.make(tmp_path / "s", points, lines))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "holds no published figures: the file:"),
        ("{", "is not JSON"),
        ('{"format": 2}', "holds no published figures: format:"),
        (None, "cannot be read"),
    ],
)
def test_published_files_that_are_none(text, said, tmp_path):
    path = tmp_path / "published.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=said):
        published.read(path)


def test_a_published_row_is_whole(tmp_path):
    raw = json.loads(PUBLISHED.read_text())
    raw["tables"][2]["rows"]["3:1"].pop()
    (tmp_path / "p.json").write_text(json.dumps(raw))
    with pytest.raises(DataError, match=r"tables.2: .*row '3:1' does not have 7 numbers"):
        published.read(tmp_path / "p.json")


def test_published_figures_are_looked_for_near_the_sweep(tmp_path):
    results = tmp_path / "study" / "results"
    results.mkdir(parents=True)
    assert published.beside(results, {}) is None
    beside = tmp_path / "elsewhere" / "published.json"
    beside.parent.mkdir()
    beside.write_text("{}")
    assert published.beside(results, {"file": str(beside.with_name("points.py"))}) == beside
    above = tmp_path / "study" / "published.json"
    above.write_text("{}")
    assert published.beside(results, {"file": str(beside.with_name("points.py"))}) == above
