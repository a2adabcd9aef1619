"""The tasks of a run or of a command: built, checked against the model, scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax

from jaxlin.config.errors import ConfigError, DataError
from jaxlin.config.registry import tasks
from jaxlin.config.run import RunConfig
from jaxlin.config.sources.task import Task
from jaxlin.config.tasks.base import names
from jaxlin.config.tasks.ruler import expanded
from jaxlin.data.tokenizer import Tokenizer
from jaxlin.evals import answers, ruler, writing
from jaxlin.evals.marks import Marks, joined, summary


class Chosen(NamedTuple):
    """A task that will be scored, under the name that records give it, at these lengths."""

    name: str
    task: Any
    lengths: tuple[int, ...]


class Setting(NamedTuple):
    """What is scored, and how: `rows` examples at a time."""

    model: Any
    variables: Any
    tokenizer: Tokenizer
    rows: int
    mesh: jax.sharding.Mesh | None = None


def of_run(cfg: RunConfig) -> tuple[Any, ...]:
    """The task configs that a run scores."""
    if not cfg.eval.tasks and isinstance(cfg.data, Task):
        return (cfg.data.task,)
    return cfg.eval.tasks


def choose(
    configs: Sequence[Any], *, context: int, vocab: int, tokenizer: Tokenizer, seq: int = 1
) -> tuple[list[Chosen], list[str]]:
    """The tasks of configs, for a model of `vocab` ids on a mesh with `seq` slices of a sequence;
    and why a task is left out, for each that is: its text is not there, or its length is too short.

    Raises ConfigError where a task does not fit the model.
    """
    configs = expanded(configs)
    chosen, skipped = [], []
    for config, name in zip(configs, names(configs), strict=True):
        lengths = config.lengths(context)
        _check(config, name, lengths, vocab, tokenizer, seq)
        try:
            task = tasks.target(config.kind)(config)
            if config.reads == "text":
                for length in lengths:
                    task.prompts(0, 0, 1, length, tokenizer)
        except DataError as error:
            skipped.append(f"{error}{_several(lengths)}")
            continue
        chosen.append(Chosen(name, task, lengths))
    return chosen, skipped


def _several(lengths: tuple[int, ...]) -> str:
    return f" (it is asked at lengths {', '.join(map(str, lengths))})" if lengths[1:] else ""


def _check(
    config: Any, name: str, lengths: tuple[int, ...], vocab: int, tokenizer: Tokenizer, seq: int
) -> None:
    problems = [p for length in lengths for p in config.problems(length)]
    if not lengths:
        problems = config.problems(0)  # none of its lengths fits the context
    if problems:
        raise ConfigError(f"task {name}: {problems[0]}")
    if config.reads == "text" and not tokenizer.token_bytes.any():
        raise ConfigError(
            f"task {name}: is written in words, and the run knows those of {tokenizer.name} only; "
            f"score it on a run on text, or give a task over tokens: "
            f"{', '.join(k for k in tasks if tasks.config(k).reads == 'tokens')}"
        )
    if config.reads == "tokens" and config.size > vocab:
        raise ConfigError(
            f"task {name}: has {config.size} ids, the model has {vocab}; give the knobs that it "
            f"was trained with, or set model.vocab={config.size} or more in training"
        )
    odd = [n for n in lengths if config.reads == "tokens" and n % seq]
    if odd:
        raise ConfigError(
            f"task {name}: length {odd[0]} is no multiple of mesh.seq={seq}; nearest: "
            f"{odd[0] + seq - odd[0] % seq}"
        )


def scores(chosen: Sequence[Chosen], setting: Setting) -> Iterator[dict[str, Any]]:
    """A record for each task: its name, accuracy, exact, examples, length or lengths, and more; see
    `summary`. After all thirteen subtasks of RULER comes their mean."""
    done = []
    for name, task, lengths in chosen:
        parts = [_marks(task, length, setting) for length in lengths]
        at = {"length": lengths[0]} if len(lengths) == 1 else {"lengths": list(lengths)}
        done.append({"task": name, **summary(joined(parts), task.grid), **at})
        yield done[-1]
    if (whole := ruler.overall(done)) is not None:
        yield whole


def _marks(task: Any, length: int, setting: Setting) -> Marks:
    model, variables, tokenizer, rows, mesh = setting
    if task.config.reads == "tokens":
        return answers.score(task, model, variables, length=length, rows=rows, mesh=mesh)
    how = {"tokenizer": tokenizer, "length": length, "rows": rows}
    return writing.score(task, model, variables, **how)
