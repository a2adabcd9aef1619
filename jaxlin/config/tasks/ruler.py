"""Config of the thirteen subtasks of RULER."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from jaxlin.config.registry import tasks
from jaxlin.config.tasks.base import TextTask

SUBTASKS = (
    "niah_single_1", "niah_single_2", "niah_single_3",
    "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
    "niah_multivalue", "niah_multiquery",
    "vt", "cwe", "fwe", "qa_1", "qa_2",
)  # fmt: skip


@tasks.register("ruler", "jaxlin.data.tasks.ruler:build")
@dataclass(frozen=True, kw_only=True)
class Ruler(TextTask):
    """One subtask, or all of them and their mean. Source: Hsieh et al. 2024, "RULER"."""

    kind: Literal["ruler"] = "ruler"
    subtask: Literal[
        "all",
        "niah_single_1",
        "niah_single_2",
        "niah_single_3",
        "niah_multikey_1",
        "niah_multikey_2",
        "niah_multikey_3",
        "niah_multivalue",
        "niah_multiquery",
        "vt",
        "cwe",
        "fwe",
        "qa_1",
        "qa_2",
    ] = "all"
    squad: str | None = None  # questions of qa_1: SQuAD's JSON, or .jsonl; see docs/evaluations.md
    hotpot: str | None = None  # questions of qa_2: HotpotQA's JSON, or .jsonl

    @property
    def label(self) -> str:
        """ruler_vt and so on."""
        return f"ruler_{self.subtask}"


def expanded(configs: Iterable[Any]) -> tuple[Any, ...]:
    """With thirteen configs in the place of each `ruler(subtask=all)`."""
    found = []
    for config in configs:
        every = isinstance(config, Ruler) and config.subtask == "all"
        found += [replace(config, subtask=name) for name in SUBTASKS] if every else [config]
    return tuple(found)
