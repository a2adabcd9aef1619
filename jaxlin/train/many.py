"""Several runs that differ in their seed, trained as one program on one device.

Each leaves the directory that `jaxlin.train.loop.train` would leave: config, metrics, checkpoints,
crash. What their sums are taken in differs, so that the numbers are equal up to rounding. A group
that was stopped goes on from the newest step that all of its unfinished runs have saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from io import TextIOBase
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlin.config.errors import ConfigError, JaxlinError, PreemptedError
from jaxlin.config.run import RunConfig
from jaxlin.config.together import obstacles
from jaxlin.train import faults, records, steps
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.goodput import Phases
from jaxlin.train.job import Job, make_job
from jaxlin.train.many_step import first_states, make_steps, stack, steps_a_call, width_on
from jaxlin.train.member import Member
from jaxlin.train.progress import Progress
from jaxlin.train.state import TrainState
from jaxlin.train.stop import Stop
from jaxlin.train.watchdog import Watchdog

Ended = Callable[[int, JaxlinError | None], None]


def train_many(
    asked: Sequence[RunConfig],
    runs: Sequence[Path],
    ended: Ended = lambda index, error: None,
    *,
    devices: Sequence[Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
    out: TextIOBase | None = None,
    takeover: bool = False,
) -> None:
    """Trains all of them until `steps`. `ended` is told of each run that is over: with an error
    where it diverged, upon which the others go on.

    Raises ConfigError where they cannot be trained together, PreemptedError after SIGTERM or
    Ctrl-C, and what `train` raises where all of them are at fault.
    """
    jobs = _jobs(asked, devices)
    left = []
    for index, (job, run) in enumerate(zip(jobs, runs, strict=True)):
        if records.finished(run, job.cfg.steps):
            ended(index, None)
        else:
            left.append(index)
    if not left:
        return
    with ExitStack() as opened:
        stop = opened.enter_context(Stop())
        progress = opened.enter_context(closing(Progress(asked[0].steps, out)))
        members = [Member(asked[i], jobs[i], runs[i], opened, progress, takeover) for i in left]
        _Group(members, [partial(ended, i) for i in left], progress, stop, clock).train(opened)


class _Group:
    """The unfinished runs and their stacked states."""

    def __init__(
        self,
        members: list[Member],
        ended: Sequence[Callable[[JaxlinError | None], None]],
        progress: Progress,
        stop: Stop,
        clock: Callable[[], float],
    ):
        self.members, self._ended, self._progress, self._stop = members, ended, progress, stop
        self.job, self.cfg = members[0].job, members[0].job.cfg
        self._spent, self._clock = Phases(clock), clock
        self._seeds = jnp.array([m.job.cfg.seed for m in members], jnp.uint32)
        shardings = self.job.plan.shardings(self.job.mesh)
        self._take = jax.jit(
            lambda states, i: jax.tree.map(lambda leaf: leaf[i], states), out_shardings=shardings
        )
        self._over: set[int] = set()

    def train(self, opened: ExitStack) -> None:
        """From the newest common step to the end."""
        start = _common(self.members)
        states = self._states(start)
        for member in self.members:
            member.begin(start, len(self.members), self._clock)
        self._announce(start)
        faults.fault("start")
        first = self.members[0]
        self._watchdog = opened.enter_context(
            Watchdog(self.cfg.guard, first.run, self._progress.say, self._hung)
        )
        if start and self._looks_after(start) and self._missing_evaluation(start):
            self._look(states, start)  # told to stop right here
        if start < self.cfg.steps:
            self._steps(states, start)
        for member in self.members:
            if member.failed is None:
                member.checkpoints.wait()
                member.checkpoints.collect()
        faults.fault("end")
        self._tell(done=True)

    def _steps(self, states: TrainState, start: int) -> None:
        mesh, k = self.job.mesh, steps_a_call(self.cfg)
        width = width_on(mesh.devices.flat[0].platform, len(self.members))
        call = make_steps(self.job.plan, mesh, width)
        done, phase = start, "compile"
        self._progress.note("compiling the step")
        faults.fault("compile")
        while done < self.cfg.steps and len(self._over) < len(self.members):
            with self._spent("input"):
                batches = stack([stack([next(m.source) for m in self.members]) for _ in range(k)])
            before = self._clock()
            with self._spent(phase):
                states, metrics = call(self._seeds, states, batches)
                fetched = {name: np.asarray(v) for name, v in jax.device_get(metrics).items()}
            seconds = self._clock() - before
            faults.fault("compiled" if phase == "compile" else "step")
            self._watchdog.beat(done + k)
            self._report(done, fetched, None if phase == "compile" else seconds)
            done, phase = done + k, "step"
            self._after(done, states)

    def _report(self, done: int, metrics: dict[str, Any], seconds: float | None) -> None:
        """What the steps after `done` measured; `seconds` of all of them, of all runs."""
        k, n = metrics["loss"].shape
        speed: dict[str, float] = {}
        if seconds is not None:
            share = max(seconds, 1e-9) / (k * n)
            tokens = self.cfg.batch * self.cfg.context
            speed = {"seconds_per_step": share, "tokens_per_second": tokens / share}
        for s in range(k):
            for i, member in enumerate(self.members):
                member.lock.check()
                values = {name: float(found[s, i]) for name, found in metrics.items()}
                member.report(done + s + 1, values, speed)
        shown = speed | {"seconds_per_step": speed["seconds_per_step"] * n} if speed else {}
        self._progress.show(done + k, float(metrics["loss"][-1].mean()), shown)
        self._tell()

    def _after(self, done: int, states: TrainState) -> None:
        """Evaluates and saves where it is time to. Raises PreemptedError when told to stop."""
        cfg, last, told = self.cfg, done == self.cfg.steps, self._stop.asked(done)
        looking = self._looks_after(done) and not told
        saving = last or told or any(m.checkpoints.due(done) for m in self.members)
        found = self._look(states, done) if looking else [None for _ in self.members]
        if saving:
            with self._watchdog.paused(), self._spent("save"):
                for i, member in enumerate(self.members):
                    result = found[i]
                    loss = None if result is None else result["loss"]
                    member.save(done, self._take(states, i), loss)
                for member in self.members if told or last else []:
                    member.checkpoints.wait()
        if looking or saving:
            share = {k: v / len(self.members) for k, v in self._spent.seconds().items()}
            for member in self.members:
                member.log.write("goodput", done, {"seconds": share})
        self._tell()
        if told:
            name = self._stop.signal.name if self._stop.signal else "a signal"
            raise PreemptedError(
                f"told to stop by {name}: saved step {done} of {cfg.steps} of "
                f"{len(self.members)} runs; the same command goes on from there"
            )

    def _look(self, states: TrainState, done: int) -> list[dict[str, Any] | None]:
        with self._watchdog.paused(), self._spent("eval"):
            found = [m.evaluate(done, self._take(states, i)) for i, m in enumerate(self.members)]
        losses = [result["loss"] for result in found if result]
        if losses:
            mean = sum(losses) / len(losses)
            self._progress.say(f"step {done}  held-out loss {mean:.4f}, mean of {len(losses)}")
        return found

    def _tell(self, done: bool = False) -> None:
        """Says which runs are over."""
        for i, member in enumerate(self.members):
            if i not in self._over and (member.failed is not None or done):
                self._over.add(i)
                self._ended[i](member.failed)

    def _states(self, start: int) -> TrainState:
        plan, mesh = self.job.plan, self.job.mesh
        if not start:
            return first_states(plan, self._seeds)
        found = []
        for member in self.members:
            folder = member.run / records.CHECKPOINTS
            saved = Checkpoints(folder, self.cfg.checkpoint, write=False, say=self._progress.say)
            member.job.refuse_other_data(member.run, start, saved.meta(start))
            found.append(saved.restore(start, plan.shapes, plan.shardings(mesh)))
        return stack(found)

    def _hung(self, error: BaseException) -> None:
        for member in self.members:
            member.crash.write(error)

    def _looks_after(self, done: int) -> bool:
        every = self.cfg.eval.every
        return done == self.cfg.steps or (every > 0 and done % every == 0)

    def _missing_evaluation(self, step: int) -> bool:
        return not all(records.has(m.run, "eval", step) for m in self.members)

    def _announce(self, start: int) -> None:
        cfg, rows = self.cfg, self.job.plan.rows
        for line in (
            f"runs    {', '.join(member.run.name for member in self.members)}",
            f"model   {sum(row.count for row in rows):,} parameters, {len(self.members)} times",
            f"data    {self.job.corpus.description}",
            f"steps   {cfg.steps:,} of {cfg.batch} x {cfg.context} tokens",
            f"start   {f'checkpoints of step {start}' if start else 'step 0, from the seeds'}",
        ):
            self._progress.say(line)


def _jobs(asked: Sequence[RunConfig], devices: Sequence[Any] | None) -> list[Job]:
    """Jobs that share their model, their data and the device."""
    faults.check()
    found = jax.devices() if devices is None else devices
    wrong = obstacles(asked, len(found))
    if jax.process_count() > 1:
        wrong.append("several processes share one run, not many")
    if wrong:
        raise ConfigError(f"cannot be trained together: {'; '.join(wrong)}. Train them one by one")
    first = make_job(asked[0], devices)
    return [first.with_seed(cfg.seed) for cfg in asked]


def _common(members: Sequence[Member]) -> int:
    """The newest step that all runs have saved; 0 if there is none: they start anew."""
    saved = [set(steps.whole(member.run / records.CHECKPOINTS)) for member in members]
    return max(set.intersection(*saved), default=0)
