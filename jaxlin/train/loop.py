"""The training loop, from config to trained model, in the order in which things happen."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from io import TextIOBase
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlin.config.errors import PreemptedError
from jaxlin.config.load import to_json
from jaxlin.config.pattern import resolve
from jaxlin.config.placement import layout
from jaxlin.config.run import RunConfig
from jaxlin.data.batch import Batch
from jaxlin.data.prefetch import Prefetch
from jaxlin.parallel import peers, processes
from jaxlin.parallel.place import local_rows, place
from jaxlin.parallel.rules import batch_sharding
from jaxlin.train import environment, faults, guard, reaction, records, shared, words, writers
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.crash import Crash
from jaxlin.train.faults import fault
from jaxlin.train.goodput import Phases
from jaxlin.train.job import Job, make_job
from jaxlin.train.lock import Lock
from jaxlin.train.looking import look
from jaxlin.train.progress import Meter, Progress
from jaxlin.train.resume import STRICT, Resume, newest
from jaxlin.train.step import make_step
from jaxlin.train.stop import Stop
from jaxlin.train.watchdog import Watchdog


class Result(NamedTuple):
    """Steps done, and the held-out evaluation after the last one (None: it was done before)."""

    step: int
    evaluation: dict[str, Any] | None


def train(
    asked: RunConfig,
    run: Path,
    *,
    devices: Sequence[Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
    out: TextIOBase | None = None,
    resume: Resume = STRICT,
) -> Result:
    """Trains until `steps`, from the newest checkpoint in `run` if there is one.

    Raises ConfigError, DataError or CheckpointError before anything is written or compiled where
    the input is at fault or another process writes to `run`, CheckpointError when a checkpoint
    cannot be saved, DivergedError when the loss or the gradient is not finite and `guard` does not
    let the run go on, PreemptedError after SIGTERM or Ctrl-C.
    """
    # ---- What is trained on what. No array exists yet, nothing is written.
    spent = Phases(clock)
    faults.check()
    writers.check(asked.log)
    with processes.together("job"):
        job = make_job(asked, devices)
    first = processes.is_first()
    cfg, mesh, plan = job.cfg, job.mesh, job.plan

    with ExitStack() as stack:
        # ---- Where it starts: own checkpoint, else another run's parameters, else the seed.
        stop = stack.enter_context(Stop())
        progress = stack.enter_context(closing(Progress(cfg.steps, out, quiet=not first)))
        lock = Lock(run, resume.takeover, held=first)
        with processes.together("lock"):
            stack.enter_context(lock)
        with processes.together("folder"):
            shared.check(run)
        crash = stack.enter_context(Crash(run, progress.lines))
        accept = partial(job.refuse_other_data, run)
        found = newest(run, plan, mesh, resume, accept, progress.say)
        start = found.step if found else 0
        for line in words.announcement(run, job, start):
            progress.say(line)
        state = found.state if found else job.first_state()

        # ---- What it writes.
        if first:
            _describe(run, asked, job, start)
        crash.begin(start)
        checkpoints = stack.enter_context(
            Checkpoints(run / records.CHECKPOINTS, cfg.checkpoint, clock, say=progress.say)
        )
        log = stack.enter_context(closing(_records(run, cfg) if first else records.Silence()))
        log.write("start", start, {})
        fault("start")
        meta = {"config": json.loads(to_json(cfg)), "mesh": dict(mesh.shape), "data": job.data}

        # ---- What a step, its input and its report are.
        step = make_step(plan, mesh)
        sharding = batch_sharding(mesh)
        rows = local_rows(sharding, cfg.batch)

        def input_from(step: int, offset: int) -> Prefetch[Batch]:
            return stack.enter_context(job.batches_after(step, offset, rows))

        offset, per_step = int(state.guard.offset), cfg.batch * cfg.context
        source, meter = input_from(start, offset), Meter(clock)
        say = progress.say if first else partial(print, file=sys.stderr)
        watchdog = stack.enter_context(Watchdog(cfg.guard, run, say, crash.write))

        def report(pending: tuple[int, Any] | None) -> guard.Event | None:
            """Waits for a step; logs it if it is its turn. Says so if the run has to rewind, raises
            DivergedError if it has to stop."""
            if pending is None:
                return None
            with spent("step"):
                fetched = jax.device_get(pending[1])
            done, values = pending[0], {k: float(v) for k, v in fetched.items()}
            crash.step = done
            watchdog.beat(done)
            event = guard.verdict(cfg.guard, done, values)
            if event is not None:
                reaction.react(event, cfg.guard, checkpoints, log, progress)
                if event.action == "rewind":
                    return event
            if done % cfg.log.every == 0 or done in (start + 1, cfg.steps):
                speed = meter.look(done, per_step, source.waited)
                batch = {"batch": f"{int(values['batch']):08x}", "tokens": done * per_step}
                log.write("train", done, {**values, **batch, **speed})
                progress.show(done, values["loss"], speed)
            return None

        def held_out(done: int) -> dict[str, Any]:
            """Evaluates the state after `done` steps."""
            with watchdog.paused(), spent("eval"):
                result = look(job, state.variables(), done, log, progress.say)
            progress.say(words.evaluation(done, result))
            return result

        def evaluated_after(done: int) -> bool:
            return done == cfg.steps or (cfg.eval.every > 0 and done % cfg.eval.every == 0)

        stack.enter_context(peers.told())

        # ---- The steps. While one runs, the step before it is reported and the next batch is made.
        evaluation, pending = None, None
        if start and evaluated_after(start) and not _has_evaluation(run, start):
            evaluation = held_out(start)  # it was told to stop right here
        if start < cfg.steps:
            if stop.asked(start + offset):
                raise PreemptedError(words.told(stop, start, cfg.steps, run))
            progress.note("compiling the step")
            fault("compile")
        done, phase = start, "compile"
        while done < cfg.steps:
            done += 1
            with spent("input"):
                batch = place(next(source), sharding, rows, cfg.batch)
            with spent(phase):
                state, metrics = step(state, batch)
            fault("compiled" if phase == "compile" else "step")
            phase = "step"
            checkpoints.check()
            lock.check()
            bad = report(pending)
            pending = (done, metrics)

            told, saving = stop.asked(done + offset), done == cfg.steps or checkpoints.due(done)
            evaluating = evaluated_after(done) and not told
            if (told or saving or evaluating) and not bad:
                bad, pending = report(pending), None
            if bad:
                past = state.guard
                del state  # before another one is made: two may not fit
                with watchdog.paused():
                    back = guard.rewind_to(checkpoints.steps(), cfg.checkpoint.every, bad.step)
                    if back:
                        state = checkpoints.restore(back, plan.shapes, plan.shardings(mesh))
                    else:
                        state = job.first_state()
                    state = reaction.rewind(bad, state, past, checkpoints, log, progress)
                source.close()
                done, pending, offset = back, None, int(state.guard.offset)
                source = input_from(done, offset)
                meter.start(done, source.waited)
                continue
            if told or saving or evaluating:
                evaluation = held_out(done) if evaluating else None
                if told or saving:
                    with watchdog.paused(), spent("save"):
                        reaction.refuse_bad_state(done, state, checkpoints)
                        loss = evaluation["loss"] if evaluation else None
                        checkpoints.save(done, state, meta, loss)
                        if told or done == cfg.steps:
                            checkpoints.wait()
                log.write("goodput", done, {"seconds": spent.seconds()})
                meter.start(done, source.waited)
            if told:
                raise PreemptedError(words.told(stop, done, cfg.steps, run))

        checkpoints.collect()
        fault("end")
        return Result(cfg.steps, evaluation)


def _describe(run: Path, asked: RunConfig, job: Job, start: int) -> None:
    """What the run directory says about the run."""
    records.create(run, asked)
    records.write_parameters(run, job.plan.rows)
    records.write_json(run / records.DATA, job.data)
    layers = layout(resolve(asked.model))
    where = environment.describe(job.mesh)
    records.add_start(run, {"step": start, "layers": layers, **where})


def _records(run: Path, cfg: RunConfig) -> records.Records:
    return records.Records(run, writers.build(run, cfg))


def _has_evaluation(run: Path, step: int) -> bool:
    return processes.first_says("evaluated", lambda: str(records.has(run, "eval", step))) == "True"
