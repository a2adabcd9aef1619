"""What is looked at and recorded at an evaluation: held-out loss, statistics, samples."""

from __future__ import annotations

from typing import Any

from jaxlin.train.faults import fault
from jaxlin.train.job import Job
from jaxlin.train.observe import observations
from jaxlin.train.records import Records


def look(job: Job, variables: Any, done: int, log: Records) -> dict[str, Any]:
    """Records everything about a model after `done` steps; the held-out loss."""
    result = job.evaluate(variables)
    fault("eval")
    log.write("eval", done, result)
    for kind, values in observations(job.plan, job.corpus, job.mesh, variables):
        log.write(kind, done, values)
    return result
