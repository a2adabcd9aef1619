"""Training speed of a preset: tokens a second, seconds to compile, peak memory.

    python benchmarks/train.py
    python benchmarks/train.py quickstart model.mixer=gla --steps 20

Each variant (the preset, the same with softmax layers only, with linear layers only) runs in a
process of its own, on real batches, so that peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

import jax
from machine import header, peak_bytes

from jaxlin.config.override import override
from jaxlin.config.presets import preset
from jaxlin.data import corpus as corpora
from jaxlin.data.batches import batch_at
from jaxlin.data.tokenizer import model_vocab
from jaxlin.parallel.mesh import make
from jaxlin.parallel.table import align
from jaxlin.train.plan import make_plan, place_state
from jaxlin.train.step import make_step

VARIANTS = {
    "as it is": [],
    "softmax only": ["model.pattern=full"],
    "linear only": ["model.pattern=pure"],
}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("preset", nargs="?", default="quickstart")
    p.add_argument("changes", nargs="*", metavar="path=value")
    p.add_argument("--steps", type=int, default=10, help="timed steps (the median is shown)")
    p.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_intermixed_args()
    if args.one:
        print(json.dumps(measure(args.preset, args.changes, args.steps)))
        return
    print(header())
    rows = [["variant", "parameters", "tokens/s", "ms/step", "compile s", "peak MiB"]]
    for name, changes in VARIANTS.items():
        found = apart([args.preset, *args.changes, *changes], args.steps)
        rows.append([name, *found])
    print(align(rows, right=range(1, len(rows[0]))))


def apart(words: list[str], steps: int) -> list[str]:
    """The figures of one variant, from a new process."""
    command = [sys.executable, __file__, *words, "--steps", str(steps), "--one"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def measure(name: str, changes: list[str], steps: int) -> list[str]:
    """Trains a few steps from the seed."""
    cfg = override(preset(name), changes)
    corpus = corpora.load(cfg.data)
    vocab = model_vocab(cfg.model.vocab, corpus.tokenizer)
    cfg = override(cfg, [f"model.vocab={vocab}"])
    mesh = make(cfg.mesh)
    plan = make_plan(cfg, mesh.shape)
    state, step = place_state(plan, mesh), make_step(plan, mesh)
    settings = {"seed": cfg.seed, "batch": cfg.batch, "context": cfg.context}
    batch = batch_at(corpus.train, step=0, **settings)
    start = time.perf_counter()
    state, metrics = jax.block_until_ready(step(state, batch))
    compiled, seconds = time.perf_counter() - start, []
    for i in range(1, steps + 1):
        batch = batch_at(corpus.train, step=i, **settings)
        start = time.perf_counter()
        state, metrics = jax.block_until_ready(step(state, batch))
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    return [
        f"{sum(row.count for row in plan.rows):,}",
        f"{cfg.batch * cfg.context / median:,.0f}",
        f"{1000 * median:.0f}",
        f"{compiled - median:.1f}",
        f"{peak_bytes() / 2**20:.0f}",
    ]


if __name__ == "__main__":
    main()
