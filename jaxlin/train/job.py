"""What is trained on what: config, mesh, plan and data, before any array exists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlin.config.errors import ConfigError, DataError
from jaxlin.config.run import RunConfig
from jaxlin.data import feed, fingerprint
from jaxlin.data.batch import Batch
from jaxlin.data.batches import ahead
from jaxlin.data.feed import Feed, Sampler
from jaxlin.data.prefetch import Prefetch
from jaxlin.data.tokenizer import model_vocab
from jaxlin.evals.perplexity import evaluate
from jaxlin.evals.tasks import Chosen, Setting, choose, of_run, scores
from jaxlin.parallel.mesh import check, make
from jaxlin.train.plan import Plan, make_plan, place_state
from jaxlin.train.restore import initial_params
from jaxlin.train.state import TrainState


class Job(NamedTuple):
    """`cfg` has its vocabulary filled in; `data` is the fingerprint of everything read."""

    cfg: RunConfig
    mesh: jax.sharding.Mesh
    plan: Plan
    corpus: Feed
    data: dict[str, Any]
    tasks: tuple[Chosen, ...] = ()  # scored at each evaluation
    skipped: tuple[str, ...] = ()  # tasks that cannot be, and why

    def with_seed(self, seed: int) -> Job:
        """The job of the same config with another seed; model and data are shared."""
        cfg = dataclasses.replace(self.cfg, seed=seed)
        plan = dataclasses.replace(self.plan, cfg=cfg)
        return self._replace(cfg=cfg, plan=plan, data=_fingerprint(cfg, self.corpus))

    def first_state(self) -> TrainState:
        """The state before the first step: another run's parameters, or the seed's."""
        if self.cfg.init_from is None:
            return place_state(self.plan, self.mesh)
        source = Path(self.cfg.init_from).expanduser()
        return place_state(self.plan, self.mesh, initial_params(source, self.plan, self.mesh))

    def batches_after(self, step: int, offset: int, rows: slice) -> Prefetch[Batch]:
        """Rows of the batches of the steps after `step`; rewinds have passed over `offset`."""
        return ahead(self.sampler(), step + offset, rows=rows, stop=self.cfg.steps + offset)

    def sampler(self) -> Sampler:
        """The training batches. Raises DataError where there is too little for one."""
        cfg = self.cfg
        return self.corpus.sampler(seed=cfg.seed, batch=cfg.batch, context=cfg.context)

    def held_out(self, limit: int | None) -> Iterator[Batch]:
        """The held-out batches, at most `limit`, of the size of a micro-batch."""
        cfg = self.cfg
        micro = cfg.batch // cfg.accumulate
        return self.corpus.held_out_batches(micro, cfg.context, limit)

    def evaluate(self, variables: Any) -> dict[str, Any]:
        """The held-out loss of a model."""
        cfg, text = self.cfg, self.held_out(self.cfg.eval.batches)
        sizes = self.corpus.tokenizer.token_bytes
        return evaluate(self.plan.model, variables, text, cfg.loss, sizes, self.mesh)

    def scores(self, variables: Any) -> Iterator[dict[str, Any]]:
        """A record for each task of the run."""
        rows = self.cfg.batch // self.cfg.accumulate
        tokenizer = self.corpus.tokenizer
        return scores(self.tasks, Setting(self.plan.model, variables, tokenizer, rows, self.mesh))

    def refuse_other_data(self, run: Path, step: int, meta: dict[str, Any]) -> None:
        """Raises unless a checkpoint of `step` with this `meta` can be gone on from."""
        if step > self.cfg.steps:
            raise ConfigError(
                f"steps: {self.cfg.steps} is below step {step}, which {run} has already reached"
            )
        changes = fingerprint.difference(meta["data"], self.data)
        if changes:
            lines = "\n".join(f"  {path}: {a!r} -> {b!r}" for path, a, b in changes[:20])
            raise DataError(
                f"{run}: the data is not what the run was trained on until step {step}; restore "
                f"the files, or start a new run (init_from={run} keeps the parameters). What "
                f"differs, {len(changes)} in all:\n{lines}"
            )


def make_job(
    asked: RunConfig,
    devices: Sequence[Any] | None = None,
    load: Callable[[Any], Feed] = feed.load,
) -> Job:
    """The job of a config. `load` reads the data of a data config.

    Raises ConfigError or DataError where it cannot be done.
    """
    mesh = make(asked.mesh, devices)
    check(asked, mesh.shape)
    corpus = load(asked.data)
    vocab = model_vocab(asked.model.vocab, corpus.tokenizer)
    cfg = dataclasses.replace(asked, model=dataclasses.replace(asked.model, vocab=vocab))
    tasks, skipped = choose(
        of_run(cfg),
        context=cfg.context,
        vocab=vocab,
        tokenizer=corpus.tokenizer,
        seq=mesh.shape["seq"],
    )
    plan, data = make_plan(cfg, mesh.shape), _fingerprint(cfg, corpus)
    job = Job(cfg, mesh, plan, corpus, data, tuple(tasks), tuple(skipped))
    # Both raise DataError if there is too little.
    job.sampler()
    next(job.held_out(1))
    return job


def _fingerprint(cfg: RunConfig, corpus: Feed) -> dict[str, Any]:
    return fingerprint.of_run(
        corpus.fingerprint,
        context=cfg.context,
        batch=cfg.batch,
        seed=cfg.seed,
        reset=corpus.reset,
    )
