"""One of several runs that are trained together: its directory, as `train` writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from jaxlin.config.errors import DivergedError
from jaxlin.config.load import to_json
from jaxlin.config.run import RunConfig
from jaxlin.data.batch import Batch
from jaxlin.data.prefetch import Prefetch
from jaxlin.train import environment, guard, reaction, records, writers
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.crash import Crash
from jaxlin.train.job import Job
from jaxlin.train.lock import Lock
from jaxlin.train.looking import look
from jaxlin.train.progress import Progress
from jaxlin.train.state import TrainState


class Member:
    """The records, checkpoints and batches of one run, open until `stack` is closed. `failed`: why
    it goes on no more, while the others do."""

    def __init__(
        self,
        asked: RunConfig,
        job: Job,
        run: Path,
        stack: ExitStack,
        progress: Progress,
        takeover: bool = False,
    ):
        self.asked, self.job, self.run, self._progress = asked, job, run, progress
        self.failed: DivergedError | None = None
        self.start = 0
        self.lock = stack.enter_context(Lock(run, takeover))
        self.crash = stack.enter_context(Crash(run, progress.lines))
        self._stack = stack

    def begin(self, start: int, together: int, clock: Callable[[], float]) -> None:
        """Writes what the run is, and opens what it writes from now on."""
        cfg, job = self.job.cfg, self.job
        self.start = start
        records.create(self.run, self.asked)
        records.write_parameters(self.run, job.plan.rows)
        records.write_json(self.run / records.DATA, job.data)
        entry = {"step": start, **environment.describe(job.mesh), "together": together}
        records.add_start(self.run, entry)
        self.crash.begin(start)
        self.checkpoints = self._stack.enter_context(
            Checkpoints(
                self.run / records.CHECKPOINTS, cfg.checkpoint, clock, say=self._progress.say
            )
        )
        self.log = self._stack.enter_context(
            closing(records.Records(self.run, writers.build(self.run, cfg)))
        )
        self.checkpoints.drop_after(start)  # the others were not as far
        self.log.write("start", start, {})
        rows = slice(0, cfg.batch)
        self.source: Prefetch[Batch] = self._stack.enter_context(job.batches_after(start, 0, rows))

    def report(self, done: int, values: Mapping[str, float], speed: Mapping[str, float]) -> None:
        """Logs a step if it is its turn; the guard may end the run here."""
        if self.failed is not None:
            return
        cfg = self.job.cfg
        self.crash.step = done
        event = guard.verdict(cfg.guard, done, values)
        if event is not None:
            try:
                reaction.react(event, cfg.guard, self.checkpoints, self.log, self._progress)
            except DivergedError as error:
                self.fail(error)
                return
        if done % cfg.log.every == 0 or done in (self.start + 1, cfg.steps):
            tokens = done * cfg.batch * cfg.context
            batch = {"batch": f"{int(values['batch']):08x}", "tokens": tokens}
            self.log.write("train", done, {**values, **batch, **speed})

    def evaluate(self, done: int, state: TrainState) -> dict[str, Any] | None:
        """Looks at the state after `done` steps; None if the run has failed."""
        return None if self.failed else look(self.job, state.variables(), done, self.log)

    def save(self, done: int, state: TrainState, loss: float | None) -> None:
        """Starts a checkpoint, unless the state is not finite, which ends the run."""
        if self.failed is not None:
            return
        meta = {
            "config": json.loads(to_json(self.job.cfg)),
            "mesh": dict(self.job.mesh.shape),
            "data": self.job.data,
        }
        try:
            reaction.refuse_bad_state(done, state, self.checkpoints)
        except DivergedError as error:
            self.fail(error)
            return
        self.checkpoints.save(done, state, meta, loss)

    def fail(self, error: DivergedError) -> None:
        """The run goes on no more."""
        self.failed = error
        self.crash.write(error)
        self._progress.say(f"{self.run.name}: {error}")
