"""The training loop, from config to trained model, in the order in which things happen."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from io import TextIOBase
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlin.config.errors import ConfigError, DataError, DivergedError, PreemptedError
from jaxlin.config.load import to_json
from jaxlin.config.run import RunConfig
from jaxlin.data import corpus as corpora
from jaxlin.data import fingerprint
from jaxlin.data.batches import batches, eval_batches
from jaxlin.data.tokenizer import model_vocab
from jaxlin.data.windows import full_windows
from jaxlin.evals.perplexity import evaluate
from jaxlin.parallel.mesh import check, make
from jaxlin.parallel.place import local_rows, place
from jaxlin.parallel.rules import batch_sharding
from jaxlin.train import environment, records, writers
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.goodput import Phases
from jaxlin.train.observe import observations
from jaxlin.train.plan import Plan, make_plan, place_state
from jaxlin.train.progress import Meter, Progress
from jaxlin.train.restore import initial_params
from jaxlin.train.step import make_step
from jaxlin.train.stop import Stop


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
) -> Result:
    """Trains until `steps`, from the newest checkpoint in `run` if there is one.

    Raises ConfigError, DataError or CheckpointError before anything is written or compiled where
    the input is at fault, DivergedError when the loss or the gradient is not finite, PreemptedError
    after SIGTERM or Ctrl-C.
    """
    # ---- What is trained on what. No array exists yet, nothing is written.
    spent = Phases(clock)
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
    full_windows(corpus.train, cfg.context)  # both raise DataError if there is too little
    next(held_out_batches(1))

    with ExitStack() as stack:
        # ---- Where it starts: own checkpoint, else another run's parameters, else the seed.
        progress = stack.enter_context(closing(Progress(cfg.steps, out)))
        checkpoints = _checkpoints(run, cfg, clock)
        start = (checkpoints.latest() or 0) if checkpoints else 0
        if start:
            _refuse_other_data(run, start, checkpoints.meta(start)["data"], data, cfg.steps)
        for line in _announcement(run, plan, mesh, corpus.description, start):
            progress.say(line)
        if start:
            state = checkpoints.restore(start, plan.shapes, plan.shardings(mesh))
        elif cfg.init_from is not None:
            source = Path(cfg.init_from).expanduser()
            state = place_state(plan, mesh, initial_params(source, plan, mesh))
        else:
            state = place_state(plan, mesh)

        # ---- What it writes.
        records.create(run, asked)
        records.write_parameters(run, plan.rows)
        records.write_json(run / records.DATA, data)
        records.add_start(run, {"step": start, **environment.describe(mesh)})
        checkpoints = checkpoints or Checkpoints(run / records.CHECKPOINTS, cfg.checkpoint, clock)
        stack.callback(checkpoints.close)
        log = stack.enter_context(closing(records.Records(run, writers.build(run, cfg))))
        log.write("start", start, {})
        meta = {"config": json.loads(to_json(cfg)), "mesh": dict(mesh.shape), "data": data}

        # ---- What a step, its input and its report are.
        step = make_step(plan, mesh)
        sharding = batch_sharding(mesh)
        rows = local_rows(sharding, cfg.batch)
        source = stack.enter_context(
            batches(
                corpus.train,
                start,
                seed=cfg.seed,
                batch=cfg.batch,
                context=cfg.context,
                rows=rows,
                reset=cfg.data.reset,
                stop=cfg.steps,
            )
        )
        meter = Meter(clock)

        def report(pending: tuple[int, Any] | None) -> None:
            """Waits for a step; stops the run if it diverged; logs it if it is its turn."""
            if pending is None:
                return
            with spent("step"):
                fetched = jax.device_get(pending[1])
            done, values = pending[0], {k: float(v) for k, v in fetched.items()}
            _refuse_divergence(done, values, checkpoints)
            if done % cfg.log.every == 0 or done in (start + 1, cfg.steps):
                speed = meter.look(done, per_step, source.waited)
                log.write("train", done, {**values, "tokens": done * per_step, **speed})
                progress.show(done, values["loss"], speed)

        def held_out(done: int) -> dict[str, Any]:
            """Evaluates the state after `done` steps."""
            result = evaluate(
                plan.model,
                state.variables(),
                held_out_batches(cfg.eval.batches),
                cfg.loss,
                corpus.tokenizer.token_bytes,
                mesh,
            )
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
        stop = stack.enter_context(Stop())
        if start < cfg.steps:
            progress.note("compiling the step")
        for done in range(start + 1, cfg.steps + 1):
            with spent("input"):
                batch = place(next(source), sharding, rows, cfg.batch)
            with spent("compile" if done == start + 1 else "step"):
                state, metrics = step(state, batch)
            report(pending)
            pending = (done, metrics)

            told, saving = stop.asked(done), done == cfg.steps or checkpoints.due(done)
            evaluating = evaluated_after(done) and not told
            if told or saving or evaluating:
                report(pending)
                pending = None
                with spent("eval"):
                    evaluation = held_out(done) if evaluating else None
                with spent("save"):
                    if told or saving:
                        checkpoints.save(done, state, meta, evaluation and evaluation["loss"])
                    if told or done == cfg.steps:
                        checkpoints.wait()
                log.write("goodput", done, {"seconds": spent.seconds()})
                meter.start(done, source.waited)
            if told:
                checkpoints.wait()
                raise PreemptedError(_told(stop, done, cfg.steps, run))

        checkpoints.wait()
        return Result(cfg.steps, evaluation)


def _checkpoints(run: Path, cfg: RunConfig, clock: Callable[[], float]) -> Checkpoints | None:
    """Those of a run that has begun; a new one's folder is not made before all is known to fit."""
    if not (run / records.CHECKPOINTS).is_dir():
        return None
    return Checkpoints(run / records.CHECKPOINTS, cfg.checkpoint, clock)


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


def _refuse_divergence(done: int, values: Mapping[str, float], checkpoints: Checkpoints) -> None:
    wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        good = checkpoints.latest()
        kept = f"the last good state is step {good}" if good else "no state was saved before"
        raise DivergedError(
            f"step {done}: {', '.join(wrong)}; {kept} in {checkpoints.folder}. Lower optim.lr, "
            "lengthen schedule.warmup, or set optim.clip"
        )


def _told(stop: Stop, done: int, steps: int, run: Path) -> str:
    who = stop.signal.name if stop.signal else "a signal to one of the processes"
    return (
        f"told to stop by {who}: saved step {done} of {steps} in {run}; the same command, or "
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
