"""Figures that others have published, from a JSON file that names where each table stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from jaxlin.config import strictjson
from jaxlin.config.errors import DataError
from jaxlin.study.findings import FULL
from jaxlin.study.scores import Values

FILE = "published.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Same(_Strict):
    """The metrics and values of the label `scale` whose numbers mean the same as the table's."""

    metrics: tuple[str, ...]
    scales: tuple[str, ...]


class Table(_Strict):
    """One table. Of ratios by mixers it says what it `measures`, to stand beside ours."""

    id: str
    title: str
    source: str
    scale: str
    rows_are: str
    columns_are: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]
    measures: Literal["language", "recall"] | None = None
    higher_is_better: bool = True
    full: float | None = None  # softmax alone
    same_as: Same | None = None

    @model_validator(mode="after")
    def _whole(self) -> Table:
        short = [name for name, row in self.rows.items() if len(row) != len(self.columns)]
        if short:
            raise ValueError(f"row {short[0]!r} does not have {len(self.columns)} numbers")
        return self


class Published(_Strict):
    """`names`: our kinds of mixers -> what the source calls them."""

    format: Literal[1]
    title: str
    source: str
    scales: str  # of models and data, in words
    names: Mapping[str, str]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    def of(self, measures: str) -> list[Table]:
        """The tables of ratios by mixers of this measure."""
        return [table for table in self.tables if table.measures == measures]

    def values(self, table: Table) -> Values:
        """Mixer -> ratio -> the one number, without columns that are no mixer."""
        return {
            mixer: {
                **{ratio: [row[i]] for ratio, row in table.rows.items()},
                **({} if table.full is None else {FULL: [table.full]}),
            }
            for i, mixer in enumerate(table.columns)
            if mixer in self.names
        }


def read(path: Path) -> Published:
    """The figures. Raises DataError for a file that holds none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"--published: {path} cannot be read ({error.strerror}); give a file such as "
            "experiments/hybrid_study/published.json"
        ) from None
    raw = strictjson.parse(content, f"--published: {path}", DataError)
    try:
        return Published.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(
            f"--published: {path} holds no published figures: {place}: {first['msg']}; "
            "experiments/hybrid_study/published.json shows the format"
        ) from None


def beside(folder: Path, about: Mapping[str, Any]) -> Path | None:
    """published.json next to the results, above them, or next to the sweep file, if it is there."""
    file = about.get("file")
    near = [
        folder,
        folder.resolve().parent,
        *([Path(file).parent] if isinstance(file, str) else []),
    ]
    return next((path for place in near if (path := place / FILE).is_file()), None)
