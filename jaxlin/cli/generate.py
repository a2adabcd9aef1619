"""`jaxlin generate`: continues prompts, as the text comes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jaxlin.cli import _run

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig
    from jaxlin.evals.generation import Piece
    from jaxlin.evals.settings import Sampling

HELP = "continue a prompt with a trained run; the text comes as it is made"
EXAMPLE = """jaxlin generate runs/quickstart-1a2b3c4d --prompt 'def ' --tokens 200 --temperature 0.7
  cat start.txt | jaxlin generate runs/quickstart-1a2b3c4d --stop $'\\n\\n'"""

CHANGEABLE = ("data",)


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "changes", nargs="*", metavar="path=value", help="such as data.tokenizer=FILE"
    )
    parser.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="what to continue; several make a batch; '-' or none: standard input",
    )
    parser.add_argument("--tokens", metavar="N", type=int, default=256, help="at most (256)")
    parser.add_argument(
        "--temperature", metavar="T", type=float, default=0.8, help="0: the likeliest token (0.8)"
    )
    parser.add_argument("--top-k", metavar="K", type=int, help="only the K likeliest tokens")
    parser.add_argument("--top-p", metavar="P", type=float, help="only the likeliest share P")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of the sampling (0)")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="S", help="end before this text; repeatable"
    )
    parser.add_argument("--step", metavar="N", type=int, help="checkpoint (the newest)")


def run(args: argparse.Namespace) -> int:
    """Prints each prompt with its continuation. Settings are checked before jax is loaded."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.evals.settings import Sampling, Stop

    sampling = Sampling(
        temperature=args.temperature, top_k=args.top_k, top_p=args.top_p, seed=args.seed
    )
    stops = Stop(strings=tuple(args.stop))
    if args.tokens < 1:
        raise ConfigError(f"--tokens: {args.tokens} is not allowed; give at least 1")
    folder = args.run.expanduser()
    cfg = _run.changed(folder, args.changes, CHANGEABLE)
    texts = [_standard_input() if text == "-" else text for text in args.prompt or ["-"]]
    speak(folder, cfg, texts, args.tokens, sampling, stops.strings, args.step)
    return 0


def speak(
    folder: Path,
    cfg: RunConfig,
    texts: list[str],
    tokens: int,
    sampling: Sampling,
    stops: tuple[str, ...] = (),
    step: int | None = None,
) -> None:
    """Prints the texts with at most `tokens` new tokens each."""
    from jaxlin.evals.generation import generate
    from jaxlin.evals.settings import Stop
    from jaxlin.train.restore import load_run

    tokenizer = _run.tokenizer(folder, cfg)
    trained = load_run(folder, step=step)
    pieces = generate(
        trained.model,
        trained.variables,
        [[tokenizer.bos, *tokenizer.encode(text).tolist()] for text in texts],
        tokenizer=tokenizer,
        max_new=tokens,
        sampling=sampling,
        stop=Stop(ids=(tokenizer.bos,), strings=stops),
    )
    write = _stream if len(texts) == 1 else _whole
    write(texts, pieces)


def _stream(texts: list[str], pieces: Iterator[Piece]) -> None:
    """The only row, piece by piece."""
    _put(texts[0])
    for piece in pieces:
        _put(piece.text)
    _put("\n")


def _whole(texts: list[str], pieces: Iterator[Piece]) -> None:
    """Each row under its number as soon as it ends."""
    rows = [[text] for text in texts]
    for piece in pieces:
        rows[piece.row].append(piece.text)
        if piece.end:
            _put(f"--- {piece.row + 1} of {len(rows)} ---\n{''.join(rows[piece.row])}\n")


def _put(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
    sys.stdout.flush()


def _standard_input() -> str:
    from jaxlin.config.errors import DataError

    if sys.stdin.isatty():
        print("prompt (Ctrl-D ends it):", file=sys.stderr)
    raw = sys.stdin.buffer.read()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input: byte {error.start} is not UTF-8; convert it first, for example with "
            "iconv -t UTF-8"
        ) from error
