"""What a run looks at beside its held-out loss at each evaluation; training does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxlin.analysis.state import statistics
from jaxlin.data.feed import Feed
from jaxlin.data.tokenizer import decode
from jaxlin.evals.generation import generate
from jaxlin.evals.settings import Sampling
from jaxlin.parallel.place import place
from jaxlin.parallel.rules import batch_sharding
from jaxlin.train.plan import Plan

TOKENS = 4096  # that statistics are taken over: about as many, at least a window a batch shard
PROMPT = 32  # held-out tokens, the separator of a text among them, that a sample goes on from
SAMPLING = Sampling(temperature=0.7, seed=0)  # the same draws at each evaluation


def observations(
    plan: Plan, corpus: Feed, mesh: jax.sharding.Mesh, variables: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and values of each record: "stats" (see jaxlin.analysis.state) where a mixer shows
    something, "sample" where tokens are asked for."""
    log = plan.cfg.log
    if log.stats and (found := stats(plan, corpus, mesh, variables)):
        yield "stats", found
    if log.samples:
        yield "sample", sample(plan, corpus, variables, log.samples)


def stats(plan: Plan, corpus: Feed, mesh: jax.sharding.Mesh, variables: Any) -> dict[str, Any]:
    """Statistics of the layers on the first held-out windows; empty if no mixer shows anything."""
    cfg = plan.cfg
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    rows = shards * max(1, TOKENS // (shards * cfg.context))
    batch = next(corpus.held_out_batches(rows, cfg.context, 1))
    # Of a task only answers have weight; its states are looked at all along.
    batch = batch._replace(weights=(batch.segment_ids > 0).astype(np.float32))
    placed = place(batch, batch_sharding(mesh), slice(0, rows), rows)
    layers = statistics(plan.model, variables, placed, mesh)
    return {"tokens": int(batch.weights.sum()), "layers": layers} if layers else {}


def sample(plan: Plan, corpus: Feed, variables: Any, tokens: int) -> dict[str, Any]:
    """The start of what is held out and what the model writes after it."""
    prompt = corpus.prompt(PROMPT)
    model: Any = plan.model
    pieces = generate(
        model,
        variables,
        [prompt],
        tokenizer=corpus.tokenizer,
        max_new=tokens,
        sampling=SAMPLING,
    )
    return {
        "prompt": decode(corpus.tokenizer, prompt),
        "text": "".join(piece.text for piece in pieces),
    }
