"""Mistakes that show only when two fields are seen together."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from jaxlin.config import pattern
from jaxlin.config.errors import ConfigError
from jaxlin.config.registry import tasks
from jaxlin.config.run import RunConfig
from jaxlin.config.sources.task import Task
from jaxlin.config.sources.text import Packed, Text


def problems(cfg: RunConfig) -> list[str]:
    """All mistakes of a config whose fields are right one by one, each as `path: sentence`."""
    return [
        *_layers(cfg.model),
        *_batch(cfg),
        *_schedule(cfg),
        *_data(cfg.data),
        *_tasks(cfg),
        *_adapters(cfg),
    ]


def _layers(model: Any) -> Iterator[str]:
    try:
        layers = pattern.resolve(model)
    except ConfigError as error:
        yield str(error)
        return
    except RecursionError:
        yield "model.pattern: is nested too deep"
        return
    # Only mixers that stand in a layer: an unused one may keep sizes that do not fit.
    unique: list[Any] = []
    for mixer in layers:
        if mixer not in unique:
            unique.append(mixer)
    for mixer in unique:
        for problem in _fits(mixer, model.width):
            yield _mixer_path(mixer, model) + problem


def _fits(mixer: Any, width: int) -> list[str]:
    if not hasattr(mixer, "problems"):
        return []
    try:
        return mixer.problems(width)
    except ArithmeticError as error:
        return [f"its sizes cannot be computed at width {width}: {error}"]


def _mixer_path(mixer: Any, model: Any) -> str:
    for field in ("mixer", "attention"):
        if mixer == getattr(model, field):
            return f"model.{field}."
    return f"model.pattern: {mixer.kind}: "


def _batch(cfg: RunConfig) -> Iterator[str]:
    if cfg.batch % cfg.accumulate:
        below = cfg.batch - cfg.batch % cfg.accumulate
        near = " or ".join(str(n) for n in (below, below + cfg.accumulate) if n)
        yield (
            f"batch: {cfg.batch} is no multiple of accumulate {cfg.accumulate}; "
            f"nearest that is: batch={near}"
        )
    if cfg.mesh.data != -1 and cfg.mesh.data < 1:
        yield f"mesh.data: found {cfg.mesh.data}; allowed: a whole number > 0, or -1 for the rest"


def _schedule(cfg: RunConfig) -> Iterator[str]:
    warmup = getattr(cfg.schedule, "warmup", 0)
    if warmup > cfg.steps:
        yield (
            f"schedule.warmup: {warmup} steps of warm-up do not fit into steps={cfg.steps}; "
            f"allowed: at most {cfg.steps}"
        )


def _data(data: Any) -> Iterator[str]:
    if isinstance(data, Text) and not data.paths:
        yield "data.paths: found none; name files or patterns, such as data.paths='corpus/*.txt'"
    if isinstance(data, Packed) and not data.path:
        yield "data.path: found none; name the folder that `jaxlin data pack` wrote"


def _tasks(cfg: RunConfig) -> Iterator[str]:
    trained = cfg.data.task if isinstance(cfg.data, Task) else None
    if trained is not None:
        yield from _trained_task(trained, cfg.context)
    for index, task in enumerate(cfg.eval.tasks):
        path = f"eval.tasks.{index}"
        if trained is not None and task.reads == "text":
            yield (
                f"{path}: {task.kind} is in words, and a run on the task {trained.kind} "
                "knows none; score it on a run whose data is text"
            )
        for length in task.lengths(cfg.context):
            yield from (f"{path}.{problem}" for problem in task.problems(length))


def _trained_task(task: Any, context: int) -> Iterator[str]:
    if task.reads == "text":
        yield (
            f"data.task: {task.kind} is a task in words, to be scored and not to be trained on; "
            f"allowed: {', '.join(k for k in tasks if tasks.config(k).reads == 'tokens')}"
        )
        return
    if task.length not in (None, context):
        yield (
            f"data.task.length: found {task.length}, but rows have context={context} tokens; leave "
            f"it unset, or set context={task.length}"
        )
    yield from (f"data.task.{problem}" for problem in task.problems(context))


def _adapters(cfg: RunConfig) -> Iterator[str]:
    names = Counter(adapter.name for adapter in cfg.adapters if hasattr(adapter, "name"))
    for index, adapter in enumerate(cfg.adapters):
        if names[getattr(adapter, "name", None)] > 1:
            yield (
                f"adapters.{index}.name: {adapter.name!r} is used by {names[adapter.name]} "
                "adapters; give each its own name"
            )
