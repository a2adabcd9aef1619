"""Config of training on a task."""

from dataclasses import dataclass, field
from typing import Literal

from jaxlin.config.kinds import AnyTask
from jaxlin.config.registry import sources
from jaxlin.config.tasks.recall import MQAR


@sources.register("task", "jaxlin.data.tasks.feed:load")
@dataclass(frozen=True, kw_only=True)
class Task:
    """Examples of a task, made as they are needed: none comes twice, each row is one."""

    kind: Literal["task"] = "task"
    task: AnyTask = field(default_factory=MQAR)
