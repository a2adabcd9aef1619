"""The page of a study: findings, tables, plots, theirs beside ours, what failed and is missing."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlin.study import document, words
from jaxlin.study.document import plots
from jaxlin.study.figures import Figure
from jaxlin.study.grid import compare, pictures, tables
from jaxlin.study.grid import plots as drawings
from jaxlin.study.grid.cells import LOSS, SEED, Grid, grids
from jaxlin.study.grid.published import Published
from jaxlin.study.grid.read import Study, number
from jaxlin.study.grid.sheets import Sheet
from jaxlin.study.grid.verdicts import Claim, claims
from jaxlin.study.html import Markup, details, el

GENERATOR = "jaxlin study report"
SCALE = (
    "Theirs: {theirs}. Ours: {parameters} parameters, {tokens} tokens. Unless a table says "
    "otherwise, ours are of another size, were trained on other data and are asked other "
    "questions: orders of mixers and directions of trends can be compared, the numbers cannot."
)
LOOKED = "“Theirs” is the same arithmetic on the published table."


@dataclass(frozen=True)
class Report:
    """The page, and the tables that lie beside it."""

    page: str
    sheets: list[Sheet]


def report(study: Study, published: Published | None, command: list[str]) -> Report:
    """Everything that the records tell. `command`: what makes this page."""
    found = grids(study)
    drawn: list[Figure] = []
    kept: list[Sheet] = []
    sections = (
        _headline(study, found),
        _findings(claims(found, published), published, kept),
        *(_scores(grid, drawn, kept) for grid in found),
        _beside(study, found, published, kept),
        _costs(study, found, drawn, kept),
        *(_curves(grid, drawn) for grid in found),
        _heat(found),
        _layouts(found),
        _gaps(study, found, kept),
        _made(study, command, kept),
    )
    body = el("main", [section for section in sections if section])
    return Report(document.whole(_title(study), GENERATOR, body, drawn), kept)


def _title(study: Study) -> str:
    """The folder of the sweep file names the study."""
    file = study.about.get("file")
    named = Path(file).parent.name if isinstance(file, str) else ""
    return f"Study {named or study.folder.resolve().name}"


def _headline(study: Study, found: list[Grid]) -> Markup:
    done, failed, none = (len(study.of(status)) for status in ("done", "failed", None))
    known = (line["seconds"] for line in study.lines.values() if number(line["seconds"]))
    seconds = float(sum(known))
    mixers = dict.fromkeys(m for g in found for m in g.mixers if not g.alone(m))
    ratios = dict.fromkeys(ratio for grid in found for ratio in grid.ratios)
    seeds = {point["labels"].get(SEED) for point in study.points}
    keys = [
        (f"{done} of {len(study.points)}", "points done"),
        (str(failed), "failed"),
        (str(none), "without a result"),
        (str(len(mixers)), "mixers"),
        (str(len(ratios)), "ratios"),
        (str(len(seeds)), "seeds"),
        (_span(_known(study, "parameters")), "parameters"),
        (words.duration(seconds), "of runs, added up"),
    ]
    shown = (el("div", el("b", value), el("span", what)) for value, what in keys)
    card = el("section", el("div", list(shown), class_="keys"), class_="card")
    names = f"{', '.join(mixers)} at {', '.join(ratios)}"
    head = (el("h1", _title(study)), el("p", names, class_="soft"))
    return el("header", *head, el("div", card, class_="cards"))


def _findings(found: list[Claim], published: Published | None, kept: list[Sheet]) -> Markup:
    parts = []
    for claim in found:
        sheets = list(claim.sheets())
        kept += sheets
        ours = [f"{where}: {finding.verdict} ({finding.why})." for where, finding in claim.cases]
        said = ours or ["No run of this sweep measures it."]
        body = (
            el("h3", claim.text),
            el("p", el("span", claim.verdict), class_="verdict"),
            (el("p", line) for line in said),
            details("the rule", el("p", claim.rule)),
            details("the figures", [sheet.html() for sheet in sheets]) if sheets else None,
        )
        parts.append(el("div", *body, class_="card", id=f"finding-{claim.id}"))
    note = "Computed from the records by the rule that stands with each." + (
        f" {LOOKED}" if published else ""
    )
    heading = el("h2", "Which of the study's findings appear")
    return el("section", heading, el("p", note, class_="note"), el("div", parts, class_="cards"))


def _scores(grid: Grid, drawn: list[Figure], kept: list[Sheet]) -> Markup:
    metrics = grid.metrics()
    sheets = [tables.by_ratio(grid, metric) for metric in metrics]
    kept += sheets
    lines = [figure for metric in metrics if (figure := drawings.by_share(grid, metric))]
    empty = None if metrics else el("p", "No run of it is done.")
    return el(
        "section",
        el("h2", f"Scores: {grid.title}"),
        empty,
        el("div", [sheet.html() for sheet in sheets], class_="cards"),
        el("div", plots(lines, drawn), class_="cards"),
    )


def _beside(
    study: Study, found: list[Grid], published: Published | None, kept: list[Sheet]
) -> Markup:
    heading = el("h2", "Published figures beside ours")
    if published is None:
        return el("section", heading, el("p", "No published figures were given (--published)."))
    names = dict(published.names)
    both = [
        sheet
        for pair in compare.pairs(published, found)
        for sheet in (tables.orders(pair, names), tables.trends(pair, names))
        if sheet
    ]
    theirs = [tables.published(published, table) for table in published.tables]
    kept += [*both, *theirs]
    none = None if both else el("p", "No mixer and ratio of ours is in a published table.")
    notes = el("ul", (el("li", note) for note in published.notes))
    return el(
        "section",
        heading,
        el("p", f"{published.title}. {published.source}."),
        el("p", _scale(study, published), class_="scale"),
        none,
        el("div", [sheet.html() for sheet in both], class_="cards"),
        details("the published tables", el("div", [s.html() for s in theirs], class_="cards")),
        details("what to know of them", notes) if published.notes else None,
    )


def _scale(study: Study, published: Published) -> str:
    """How far apart they are."""
    sizes, tokens = (_span(_known(study, field)) for field in ("parameters", "tokens"))
    return SCALE.format(theirs=published.scales, parameters=sizes, tokens=tokens)


def _costs(
    study: Study, found: list[Grid], drawn: list[Figure], kept: list[Sheet]
) -> Markup | None:
    figures = [
        figure
        for grid in found
        for metric in _main(grid)
        for figure in drawings.pareto(grid, metric)
    ]
    sheet = tables.accounting(study)
    if sheet is None:
        return None
    kept.append(sheet)
    none = "No record tells FLOPs or bytes that differ between models, so there are no fronts."
    most = max((len(drawings.costs(grid)) for grid in found), default=0)
    rest = f"Plotted: {drawings.MOST} of {most} costs; the table has all of them."
    return el(
        "section",
        el("h2", "Cost against quality"),
        plots(figures, drawn) if figures else el("p", none, class_="note"),
        el("p", rest, class_="note") if most > drawings.MOST else None,
        details("what each model costs", sheet.html()),
    )


def _curves(grid: Grid, drawn: list[Figure]) -> Markup | None:
    figures = list(drawings.learning(grid))
    if not figures:
        return None
    return el("section", el("h2", f"Learning curves: {grid.title}"), plots(figures, drawn))


def _heat(found: list[Grid]) -> Markup | None:
    maps = [shown for grid in found for shown in pictures.heat_maps(grid)]
    if not maps:
        return None
    note = "Share of answers that are right: dark 0, bright 1."
    return el(
        "section",
        el("h2", "Needles"),
        el("p", note, class_="note"),
        el("div", maps, class_="cards many"),
    )


def _layouts(found: list[Grid]) -> Markup | None:
    drawing = pictures.layouts(found)
    return el("section", el("h2", "Layers of each model"), drawing) if drawing else None


def _gaps(study: Study, found: list[Grid], kept: list[Sheet]) -> Markup:
    every = (tables.failed(study), tables.gaps(found), tables.missing(study))
    sheets = [sheet for sheet in every if sheet.rows]
    kept += sheets
    whole = None if sheets else el("p", "Nothing: every point is done.")
    shown = el("div", [sheet.html() for sheet in sheets], class_="cards")
    return el("section", el("h2", "What failed and what is missing"), whole, shown)


def _made(study: Study, command: list[str], kept: list[Sheet]) -> Markup:
    """Commands and versions."""
    sweep = study.about.get("command")
    lines = [shlex.join(map(str, sweep))] if isinstance(sweep, list) else []
    runs = (shlex.join(["jaxlin", "train", p["preset"], *map(str, p["overrides"])])
            for p in study.points)  # fmt: skip
    every = tables.points(study)
    kept.append(every)
    return el(
        "section",
        el("h2", "Commands and versions"),
        el("pre", "\n".join([*lines, shlex.join(command)])),
        _versions(study).html(),
        details("a command for each point", el("pre", "\n".join(runs))),
        details("every run", every.html()),
    )


def _versions(study: Study) -> Sheet:
    """Each environment that runs were made in, and how many."""
    about = {"sweep file": study.about.get("file"), "sha256": study.about.get("file_sha256")}
    rows: list[list[Any]] = [["sweep", _plain({k: v for k, v in about.items() if v})]]
    made = Counter((_plain(line["versions"]), _plain(line["git"])) for line in study.lines.values())
    for (versions, git), count in made.most_common():
        rows += [[f"{count} runs: versions", versions], [f"{count} runs: code", git]]
    note = "" if len(made) < 2 else "Not all runs come from the same code and versions."
    return Sheet("versions", "What the runs were made with", note, ["", ""], rows)


def _plain(value: Any) -> str:
    if not isinstance(value, dict):
        return "not recorded"
    return ", ".join(f"{k} {v if isinstance(v, str) else json.dumps(v)}" for k, v in value.items())


def _main(grid: Grid) -> Iterator[str]:
    """What costs are set against: language loss and recall."""
    if grid.language and LOSS in grid.metrics():
        yield LOSS
    yield from grid.recall()


def _known(study: Study, field: str) -> list[int]:
    """Of all runs that recorded it."""
    return [line[field] for line in study.lines.values() if line[field]]


def _span(sizes: Iterable[int]) -> str:
    sizes = sorted(sizes)
    if not sizes:
        return "–"
    low, high = words.short(sizes[0]), words.short(sizes[-1])
    return low if low == high else f"{low} to {high}"
