"""The training loop, from config to trained model, in the order in which things happen."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from io import TextIOBase
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlin.config.errors import ConfigError, DataError, PreemptedError
from jaxlin.config.load import to_json
from jaxlin.config.run import RunConfig
from jaxlin.data import corpus as corpora
from jaxlin.data import fingerprint
from jaxlin.data.batch import Batch
from jaxlin.data.batches import batches, eval_batches
from jaxlin.data.prefetch import Prefetch
from jaxlin.data.tokenizer import model_vocab
from jaxlin.data.windows import full_windows
from jaxlin.evals.perplexity import evaluate
from jaxlin.parallel.mesh import check, make
from jaxlin.parallel.place import local_rows, place
from jaxlin.parallel.rules import batch_sharding
from jaxlin.train import environment, faults, guard, reaction, records, writers
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.crash import Crash
from jaxlin.train.faults import fault
from jaxlin.train.goodput import Phases
from jaxlin.train.lock import Lock
from jaxlin.train.observe import observations
from jaxlin.train.plan import Plan, make_plan, place_state
from jaxlin.train.progress import Meter, Progress
from jaxlin.train.restore import initial_params
from jaxlin.train.resume import STRICT, Resume, newest
from jaxlin.train.state import TrainState
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
    mesh = make(asked.mesh, devices)
    check(asked, mesh.shape)
    corpus = corpora.load(asked.data)
    vocab = model_vocab(asked.model.vocab, corpus.tokenizer)
    cfg = dataclasses.replace(asked, model=dataclasses.replace(asked.model, vocab=vocab))
    plan = make_plan(cfg, mesh.shape)
    data = fingerprint.of_run(
        corpus.fingerprint,
        context=cfg.context,
        batch=cfg.batch,
        seed=cfg.seed,
        reset=cfg.data.reset,
    )
    per_step, micro = cfg.batch * cfg.context, cfg.batch // cfg.accumulate
    held_out_batches = lambda limit: eval_batches(  # noqa: E731
        corpus.held_out, micro, cfg.context, limit, reset=cfg.data.reset
    )
    # Both raise DataError if there is too little.
    full_windows(corpus.train, cfg.context, cfg.batch)
    next(held_out_batches(1))

    with ExitStack() as stack:
        # ---- Where it starts: own checkpoint, else another run's parameters, else the seed.
        stop = stack.enter_context(Stop())
        progress = stack.enter_context(closing(Progress(cfg.steps, out)))
        lock = stack.enter_context(Lock(run, resume.takeover, held=jax.process_index() == 0))
        crash = stack.enter_context(Crash(run, progress.lines))
        found = newest(
            run,
            plan,
            mesh,
            resume,
            lambda step, meta: _refuse_other_data(run, step, meta["data"], data, cfg.steps),
            progress.say,
        )
        start = found.step if found else 0
        for line in _announcement(run, plan, mesh, corpus.description, start):
            progress.say(line)

        def first_state() -> TrainState:
            """The state before the first step."""
            if cfg.init_from is None:
                return place_state(plan, mesh)
            source = Path(cfg.init_from).expanduser()
            return place_state(plan, mesh, initial_params(source, plan, mesh))

        state = found.state if found else first_state()

        # ---- What it writes.
        records.create(run, asked)
        records.write_parameters(run, plan.rows)
        records.write_json(run / records.DATA, data)
        records.add_start(run, {"step": start, **environment.describe(mesh)})
        crash.begin(start)
        checkpoints = stack.enter_context(
            Checkpoints(run / records.CHECKPOINTS, cfg.checkpoint, clock, say=progress.say)
        )
        log = stack.enter_context(closing(records.Records(run, writers.build(run, cfg))))
        log.write("start", start, {})
        fault("start")
        meta = {"config": json.loads(to_json(cfg)), "mesh": dict(mesh.shape), "data": data}

        # ---- What a step, its input and its report are.
        step = make_step(plan, mesh)
        sharding = batch_sharding(mesh)
        rows = local_rows(sharding, cfg.batch)

        def input_from(step: int, offset: int) -> Prefetch[Batch]:
            """Batches of the steps after `step`; rewinds have passed over `offset` of them."""
            return stack.enter_context(
                batches(
                    corpus.train,
                    step + offset,
                    seed=cfg.seed,
                    batch=cfg.batch,
                    context=cfg.context,
                    rows=rows,
                    reset=cfg.data.reset,
                    stop=cfg.steps + offset,
                )
            )

        def restored(step: int) -> TrainState:
            """The state of a checkpoint of this run."""
            return checkpoints.restore(step, plan.shapes, plan.shardings(mesh))

        offset = int(state.guard.offset)
        source, meter = input_from(start, offset), Meter(clock)
        watchdog = stack.enter_context(Watchdog(cfg.guard, run, progress.say, crash.write))

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
                result = evaluate(
                    plan.model,
                    state.variables(),
                    held_out_batches(cfg.eval.batches),
                    cfg.loss,
                    corpus.tokenizer.token_bytes,
                    mesh,
                )
                fault("eval")
                log.write("eval", done, result)
                for kind, values in observations(plan, corpus, mesh, state.variables()):
                    log.write(kind, done, values)
            progress.say(_evaluation(done, result))
            return result

        def evaluated_after(done: int) -> bool:
            return done == cfg.steps or (cfg.eval.every > 0 and done % cfg.eval.every == 0)

        # ---- The steps. While one runs, the step before it is reported and the next batch is made.
        evaluation, pending = None, None
        if start and evaluated_after(start) and not records.has(run, "eval", start):
            evaluation = held_out(start)  # it was told to stop right here
        if start < cfg.steps:
            if stop.asked(start + offset):
                raise PreemptedError(_told(stop, start, cfg.steps, run))
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
                    state = restored(back) if back else first_state()
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
                raise PreemptedError(_told(stop, done, cfg.steps, run))

        checkpoints.collect()
        fault("end")
        return Result(cfg.steps, evaluation)


def _refuse_other_data(run: Path, start: int, old: Any, new: Any, steps: int) -> None:
    if start > steps:
        raise ConfigError(f"steps: {steps} is below step {start}, which {run} has already reached")
    changes = fingerprint.difference(old, new)
    if changes:
        lines = "\n".join(f"  {path}: {before!r} -> {now!r}" for path, before, now in changes[:20])
        raise DataError(
            f"{run}: the data is not what the run was trained on until step {start}; restore the "
            f"files, or start a new run (init_from={run} keeps the parameters). What differs, "
            f"{len(changes)} in all:\n{lines}"
        )


def _told(stop: Stop, done: int, steps: int, run: Path) -> str:
    who = stop.signal.name if stop.signal else "a signal to one of the processes"
    saved = "saved" if done else "nothing to save yet at"
    return (
        f"told to stop by {who}: {saved} step {done} of {steps} in {run}; the same command, or "
        f"`jaxlin resume {run}`, goes on from there"
    )


def _announcement(
    run: Path, plan: Plan, mesh: jax.sharding.Mesh, data: str, start: int
) -> list[str]:
    cfg = plan.cfg
    count = sum(row.count for row in plan.rows)
    trained = sum(row.count for row in plan.rows if row.optimizer != "frozen")
    shape = ", ".join(f"{axis} {size}" for axis, size in mesh.shape.items() if size > 1)
    kind = mesh.devices.flat[0].device_kind
    tokens = cfg.batch * cfg.context
    begin = "step 0, " + (f"parameters of {cfg.init_from}" if cfg.init_from else "from the seed")
    return [
        f"run     {run}",
        f"model   {count:,} parameters" + ("" if trained == count else f", {trained:,} trained"),
        f"mesh    {mesh.devices.size} x {kind}" + (f": {shape}" if shape else ""),
        f"data    {data}",
        f"steps   {cfg.steps:,} of {cfg.batch} x {cfg.context} = {tokens:,} tokens",
        f"start   {f'checkpoint of step {start}' if start else begin}",
    ]


def _evaluation(done: int, result: Mapping[str, Any]) -> str:
    text = f"step {done}  held-out loss {result['loss']:.4f}"
    if result.get("bits_per_byte") is not None:
        text += f"  {result['bits_per_byte']:.4f} bits per byte"
    return text
