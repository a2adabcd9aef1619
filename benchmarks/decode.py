"""Milliseconds a token and memory of decoding, against the tokens of context already seen.

    python benchmarks/decode.py
    python benchmarks/decode.py --models linear --contexts 1024 65536 --batch 8 --prefill

Each case runs in a process of its own, so that peak memory is its own. The caches are filled with
random numbers, or with --prefill by feeding random tokens, whose time is then reported too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from machine import header, peak_bytes

from jaxlin.config.model import LM, FeedForward
from jaxlin.config.override import variant
from jaxlin.config.registry import mixers
from jaxlin.evals.decoding import advance, chunks, empty_cache
from jaxlin.evals.sampling import knobs
from jaxlin.evals.settings import Sampling
from jaxlin.mixers import RecurrentCache
from jaxlin.mixers.softmax import KVCache
from jaxlin.models.lm import Cache, build
from jaxlin.parallel.table import align

PATTERNS = {"linear": "pure", "hybrid": "3*mixer + attention", "softmax": "full"}
VOCAB = 384


def main() -> None:
    args = parser().parse_args()
    if args.one:
        print(json.dumps(measure(args, args.models[0], args.contexts[0])))
        return
    print(header())
    columns = ["model", "context", "ms/token", "cache MiB", "peak MiB", "prefill s"]
    rows = [columns]
    for model in args.models:
        for context in args.contexts:
            found = apart(args, model, context)
            figures = ("ms", "cache", "peak", "prefill")
            rows.append([model, f"{context:,}", *(_figure(found[name]) for name in figures)])
    print(align(rows, right=range(1, len(columns))))


def parser() -> argparse.ArgumentParser:
    """The options; each has the default that the README quotes."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--models", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    p.add_argument("--contexts", nargs="+", type=int, default=[1024, 8192, 65536])
    p.add_argument("--mixer", default="gated_deltanet(heads=2,head_dim=64)")
    p.add_argument("--attention", default="softmax(heads=4)")
    p.add_argument("--width", type=int, default=256)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--tokens", type=int, default=32, help="timed steps of each of --repeats")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    p.add_argument("--prefill", action="store_true", help="feed tokens instead of random caches")
    p.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return p


def apart(args: argparse.Namespace, model: str, context: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    same = ("mixer", "attention", "width", "layers", "batch", "tokens", "repeats", "dtype")
    words = [f"--{name}={getattr(args, name)}" for name in same]
    words += ["--models", model, "--contexts", str(context), "--one"]
    words += ["--prefill"] if args.prefill else []
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace, name: str, context: int) -> dict[str, Any]:
    """Median milliseconds a token, and MiB of the cache and at the peak."""
    model = build(config(args, name))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    steps = args.tokens * args.repeats + 1
    cache = empty_cache(model.config, args.batch, context + steps)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(cache)) / 2**20
    greedy = Sampling(temperature=0.0)
    run = partial(advance, model, greedy.mode, variables)
    settings = (VOCAB, knobs(greedy, VOCAB), 0)
    seconds = None
    if args.prefill:
        cache, seconds = prefilled(run, cache, args.batch, context, settings)
    else:
        cache = jax.jit(filled, donate_argnums=0, static_argnums=1)(cache, context)
    ones = jnp.ones((args.batch, 1), jnp.int32)
    token, cache = run(cache, ones, ones, *settings)  # compiles
    times = []
    for _ in range(args.repeats):
        jax.block_until_ready((token, cache))
        begin = time.perf_counter()
        for _ in range(args.tokens):
            token, cache = run(cache, token[:, None], ones, *settings)
        jax.block_until_ready((token, cache))
        times.append((time.perf_counter() - begin) / args.tokens)
    ms = 1000 * statistics.median(times)
    return {"ms": ms, "cache": size, "peak": peak_bytes() / 2**20, "prefill": seconds}


def config(args: argparse.Namespace, name: str) -> LM:
    """The model of a case."""
    return LM(
        vocab=VOCAB,
        width=args.width,
        layers=args.layers,
        pattern=PATTERNS[name],
        mixer=variant(mixers, args.mixer, "--mixer"),
        attention=variant(mixers, args.attention, "--attention"),
        ffn=FeedForward(hidden=2 * args.width),
        dtype=args.dtype,
    )


def prefilled(
    run: Any, cache: Cache, batch: int, context: int, settings: tuple[Any, ...]
) -> tuple[Cache, float]:
    """The cache after random tokens, and the seconds that feeding them took (compiled before)."""
    tokens = np.random.default_rng(0).integers(0, VOCAB, (batch, context), np.int32)
    ones = np.ones_like(tokens)
    for timed in (False, True):
        state, begin = jax.tree.map(jnp.copy, cache), time.perf_counter()
        parts = list(chunks(context))
        for part in parts if timed else parts[:1]:
            _, state = run(state, tokens[:, part], ones[:, part], *settings)
        jax.block_until_ready(state)
    return state, time.perf_counter() - begin


def filled(cache: Cache, context: int) -> Cache:
    """A cache as after `context` tokens of one document, with random content."""
    is_layer = lambda node: isinstance(node, KVCache | RecurrentCache)  # noqa: E731
    layers = jax.tree.map(partial(_filled_layer, context=context), cache.layers, is_leaf=is_layer)
    return Cache(layers, jnp.ones_like(cache.segment), jnp.full_like(cache.position, context))


def _filled_layer(layer: Any, context: int) -> Any:
    leaves, tree = jax.tree.flatten(layer)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    draw = lambda key, leaf: jax.random.normal(key, leaf.shape, leaf.dtype)  # noqa: E731
    floats = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.floating)  # noqa: E731
    some = [draw(k, leaf) if floats(leaf) else leaf for k, leaf in zip(keys, leaves, strict=True)]
    layer = jax.tree.unflatten(tree, some)
    if isinstance(layer, RecurrentCache):
        return layer._replace(segments=jnp.ones_like(layer.segments))
    slot = jnp.broadcast_to(jnp.arange(layer.index.shape[-1]), layer.index.shape)
    seen = slot < context
    return layer._replace(
        segments=jnp.where(seen, 1, -1).astype(jnp.int32),
        index=jnp.where(seen, slot, -1).astype(jnp.int32),
        seen=jnp.full_like(layer.seen, context),
        position=jnp.full_like(layer.position, context),
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
