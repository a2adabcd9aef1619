"""What is looked at and recorded at an evaluation: held-out loss, statistics, samples, tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxlin.train import words
from jaxlin.train.faults import fault
from jaxlin.train.job import Job
from jaxlin.train.observe import observations
from jaxlin.train.records import Records


def look(
    job: Job,
    variables: Any,
    done: int,
    log: Records,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Records everything about a model after `done` steps; the held-out loss.

    `say` is told the score of each task.
    """
    result = job.evaluate(variables)
    fault("eval")
    log.write("eval", done, result)
    for kind, values in observations(job.plan, job.corpus, job.mesh, variables):
        log.write(kind, done, values)
    for values in job.scores(variables):
        log.write("task", done, values)
        say(words.score(done, values))
    return result
