"""`jaxlin eval`: held-out loss of a run per token, byte and word, by position; scores of tasks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlin.cli import _run, _scores, _tables

if TYPE_CHECKING:
    from jaxlin.config.run import Mesh, RunConfig
    from jaxlin.data.feed import Feed

HELP = "measure a run: held-out loss per token, byte and word, by position; or tasks"
EXAMPLE = """jaxlin eval runs/quickstart-1a2b3c4d --batches 16
  jaxlin eval runs/quickstart-1a2b3c4d data=text data.eval_paths='mine/*.txt'
  jaxlin eval runs/mqar-1a2b3c4d --task 'mqar(pairs=8)' --task needle_tokens --length 256
  jaxlin eval runs/hybrid-1a2b3c4d --lm-eval arc_easy,piqa"""

CHANGEABLE = ("data", "context", "batch", "loss", "mesh")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="path=value",
        help=f"other data or sizes than in training; below {', '.join(CHANGEABLE)} only",
    )
    parser.add_argument(
        "--batches", metavar="N", type=int, help="held-out batches (all of the held-out text)"
    )
    parser.add_argument(
        "--task",
        action="append",
        default=[],
        metavar="KIND(...)",
        help="score this task in place of the held-out loss; repeatable",
    )
    parser.add_argument(
        "--lm-eval",
        metavar="NAME,...",
        help="run tasks of the lm-eval harness; zero_shot: the six of the hybrid study",
    )
    parser.add_argument(
        "--tasks-from", metavar="DIR", type=Path, help="definitions of further lm-eval tasks"
    )
    parser.add_argument("--length", metavar="N", type=int, help="tokens of the tasks' examples")
    parser.add_argument("--examples", metavar="N", type=int, help="examples of each task")
    parser.add_argument("--step", metavar="N", type=int, help="checkpoint (the newest)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the figures."""
    from jaxlin.config.errors import ConfigError

    if args.batches is not None and args.batches < 1:
        raise ConfigError(f"--batches: {args.batches} is not allowed; give at least 1, or leave it")
    folder, wanted = args.run.expanduser(), _tasks(args)
    cfg = _run.changed(folder, args.changes, CHANGEABLE)
    mesh = cfg.mesh if any(word.startswith("mesh.") for word in args.changes) else None
    where: dict[str, Any] = {"step": args.step, "mesh": mesh}
    if args.lm_eval is not None:
        how = {"tasks_from": args.tasks_from, "length": args.length, "examples": args.examples}
        result = _scores.harness(folder, cfg, args.lm_eval, **how, **where)
        shown = _scores.show_harness
    elif wanted:
        result, shown = _scores.measure(folder, cfg, wanted, **where), _scores.show
    else:
        from jaxlin.data import feed

        result = measure(folder, cfg, feed.load(cfg.data), limit=args.batches, **where)
        shown = show
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        shown(result)
    return 0


def _tasks(args: argparse.Namespace) -> list[Any]:
    """The configs of --task. Raises ConfigError for options that do not go together."""
    from jaxlin.config.errors import ConfigError

    if args.task and args.lm_eval is not None:
        raise ConfigError("--task and --lm-eval: give one of them at a time")
    if not args.task and args.lm_eval is None and (args.length or args.examples):
        raise ConfigError("--length and --examples are those of a task; name one with --task")
    if args.tasks_from is not None and args.lm_eval is None:
        raise ConfigError("--tasks-from: is for tasks of lm-eval; name them with --lm-eval")
    return _scores.asked(args.task, args.length, args.examples)


def measure(
    folder: Path,
    cfg: RunConfig,
    corpus: Feed,
    *,
    limit: int | None = None,
    step: int | None = None,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """The figures of a run on the held-out part of a corpus, all of it if `limit` is None.

    Without a mesh config every device holds all parameters and a share of the rows.
    """
    from jaxlin.evals.perplexity import evaluate
    from jaxlin.evals.words import target_words
    from jaxlin.parallel.mesh import make
    from jaxlin.train.restore import load_run

    _run.refuse_other_tokenizer(folder, corpus.tokenizer)
    _run.note_other_data(folder, corpus.fingerprint)
    trained = load_run(folder, make(mesh) if mesh else None, step)
    shards = trained.mesh.shape["data"] * trained.mesh.shape["fsdp"]
    rows = -(-cfg.batch // shards) * shards
    sizes = (rows, cfg.context, limit)
    words = target_words(corpus.held_out_batches(*sizes), corpus.tokenizer)
    figures = evaluate(
        trained.model,
        trained.variables,
        _tables.counted(corpus.held_out_batches(*sizes), "evaluating batch"),
        cfg.loss,
        corpus.tokenizer.token_bytes,
        trained.mesh,
        words,
    )
    return {
        "run": str(folder),
        "step": trained.step,
        "held_out": corpus.held_out_name,
        "context": cfg.context,
        **figures,
    }


def show(result: dict[str, Any]) -> None:
    """The two tables."""
    from jaxlin.evals.report import figure_rows, position_rows

    title = f"{result['run']}, step {result['step']}, on {result['held_out']}"
    _tables.show(title, ["figure", "value", "over"], figure_rows(result))
    _tables.show(
        f"by context, windows of {result['context']} tokens",
        ["tokens before", "loss per token", "tokens"],
        position_rows(result),
    )
