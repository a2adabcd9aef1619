"""The page and its tables on disk: page.html, and beside it page_tables/ with CSV and LaTeX."""

from __future__ import annotations

import json
from pathlib import Path

from jaxlin.config.errors import ConfigError
from jaxlin.study import document
from jaxlin.study.grid.page import GENERATOR, Report
from jaxlin.train.records import write_text

LIST = "tables.json"  # what the folder holds, so that only its own files are replaced


def write(out: Path, report: Report) -> Path:
    """Writes both; returns the folder of tables.

    Raises ConfigError when something cannot be written, or something else is in its place.
    """
    folder = out.with_name(f"{out.stem}_tables")
    old = _own(folder)
    document.write(out, report.page, GENERATOR)
    texts = {}
    for sheet in report.sheets:
        texts |= {f"{sheet.id}.csv": sheet.csv(), f"{sheet.id}.tex": sheet.latex()}
    try:
        folder.mkdir(exist_ok=True)
        write_text(folder / LIST, json.dumps(sorted({*texts, *old}), indent=1) + "\n")
        for name, text in texts.items():
            write_text(folder / name, text)
        for name in old - texts.keys():
            (folder / name).unlink(missing_ok=True)
        write_text(folder / LIST, json.dumps(sorted(texts), indent=1) + "\n")
    except OSError as error:
        raise ConfigError(
            f"--out: {folder} cannot be written: {error}; name another file"
        ) from error
    return folder


def _own(folder: Path) -> set[str]:
    """The tables that an earlier page left. Raises ConfigError for a folder of something else."""
    if not folder.exists():
        return set()
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        listed = None
    if not isinstance(listed, list):
        raise ConfigError(
            f"--out: {folder} exists and is no folder of tables of `{GENERATOR}`; it was left as "
            "it is. Name another file, beside which the tables can lie"
        )
    names = (name for name in listed if isinstance(name, str) and Path(name).name == name)
    return {name for name in names if name.endswith((".csv", ".tex"))}
