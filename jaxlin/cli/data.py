"""`jaxlin data`: tokenizers, packed folders, and a look at a batch."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from jaxlin.cli import common

EVERY, QUIET = 0.2, 60.0  # seconds between two signs of life, on a terminal and elsewhere
HELP = "train a tokenizer, pack files, inspect a batch"
EXAMPLE = """jaxlin data tokenizer --vocab 4096 --out tok.json 'corpus/*.txt'
  jaxlin data pack --tokenizer tok.json --out packed 'corpus/*.txt'
  jaxlin data inspect quickstart data=packed data.path=packed"""

TOKENIZER_EXAMPLE = "jaxlin data tokenizer --vocab 4096 --out tok.json 'corpus/*.txt'"
PACK_EXAMPLE = "jaxlin data pack --tokenizer tok.json --out packed 'corpus/*.jsonl.gz'"
INSPECT_EXAMPLE = """jaxlin data inspect quickstart context=128
  jaxlin data inspect quickstart data=text data.paths='corpus/*.txt' --rows 4
  jaxlin data inspect quickstart data=packed data.path=packed --held-out"""


def add(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their options."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    tokenizer = _command(commands, "tokenizer", "train a byte-level BPE", TOKENIZER_EXAMPLE)
    tokenizer.add_argument("--vocab", type=int, default=4096, help="tokens (default 4096)")
    tokenizer.add_argument("--out", type=Path, required=True, help="the new tokenizer.json")
    _add_files(tokenizer)
    pack = _command(commands, "pack", "tokenise files into a memory-mapped folder", PACK_EXAMPLE)
    pack.add_argument("--tokenizer", default="bytes", help="'bytes' (default) or a tokenizer.json")
    pack.add_argument("--out", type=Path, required=True, help="the new folder")
    _add_files(pack)
    look = _command(commands, "inspect", "show a batch of a preset", INSPECT_EXAMPLE)
    common.add(look)
    look.add_argument("--step", type=_natural, default=0, help="which training batch (default 0)")
    look.add_argument("--rows", type=_natural, default=2, help="rows to decode (default 2)")
    look.add_argument("--held-out", action="store_true", help="a batch of the evaluation")


def _command(
    commands: argparse._SubParsersAction, name: str, what: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=what,
        description=what,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--field", default="text", help="key of the text in .jsonl lines")
    parser.add_argument(
        "--skip-corrupt", metavar="N", type=_natural, default=0,
        help="pass over at most N .jsonl lines that hold no such text (default 0)",
    )  # fmt: skip
    parser.add_argument("files", nargs="+", metavar="FILE", help="files or quoted patterns")


def _natural(text: str) -> int:
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Runs the chosen sub-command."""
    return {"tokenizer": _tokenizer, "pack": _pack, "inspect": _inspect}[args.what](args)


def _tokenizer(args: argparse.Namespace) -> int:
    from jaxlin.data.files import expand
    from jaxlin.data.text import Corrupt, read
    from jaxlin.data.tokenizer import need_library

    need_library("jaxlin data tokenizer")
    from jaxlin.data.train_bpe import train_bpe

    corrupt = Corrupt(args.skip_corrupt)
    documents = read(expand(args.files, "FILE"), args.field, corrupt)
    size = train_bpe(documents, args.vocab, args.out)
    fewer = "" if size == args.vocab else f" (the text has no more than that, not {args.vocab})"
    print(f"{args.out}: {size} tokens{fewer}; use it with  data.tokenizer={args.out}")
    _note(corrupt.report())
    return 0


def _pack(args: argparse.Namespace) -> int:
    from jaxlin.data.files import expand
    from jaxlin.data.pack import pack
    from jaxlin.data.text import Corrupt, read
    from jaxlin.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(args.tokenizer)
    corrupt = Corrupt(args.skip_corrupt)
    documents = read(expand(args.files, "FILE"), args.field, corrupt)
    with _Progress() as progress:
        index = pack(documents, tokenizer, args.out, progress)
    print(
        f"{args.out}: {index.documents} documents, {index.tokens} tokens, "
        f"{index.text_bytes / index.tokens:.2f} bytes per token ({index.dtype}); "
        f"use it with  data=packed data.path={args.out}"
    )
    _note(corrupt.report())
    return 0


def _note(text: str) -> None:
    if text:
        print(f"note: {text}", file=sys.stderr)


class _Progress:
    """One line on a terminal, rewritten a few times a second; elsewhere a line a minute."""

    def __init__(self) -> None:
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._begin = self._last = time.monotonic()

    def __call__(self, documents: int, tokens: int, text_bytes: int) -> None:
        now = time.monotonic()
        if now - self._last > (EVERY if self._live else QUIET):
            self._last = now
            speed = text_bytes / 1e6 / (now - self._begin)
            line = f"{documents} documents  {tokens} tokens  {speed:.1f} MB/s"
            shown, end = (f"\r{line:60}", "") if self._live else (line, "\n")
            print(shown, end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            print(f"\r{'':60}\r", end="", file=sys.stderr, flush=True)


def _inspect(args: argparse.Namespace) -> int:
    config = common.resolve(args)
    from itertools import islice

    from jaxlin.config.errors import DataError
    from jaxlin.data.feed import load
    from jaxlin.data.inspect import describe

    corpus = load(config.data)
    print(corpus.description)
    if args.held_out:
        batch = next(
            islice(corpus.held_out_batches(config.batch, config.context), args.step, None), None
        )
        if batch is None:
            raise DataError(f"--step {args.step}: the held-out text has fewer batches than that")
    else:
        batch = corpus.sampler(
            seed=config.seed, batch=config.batch, context=config.context
        ).batch_at(args.step)
    print("\n".join(describe(batch, corpus.tokenizer, args.rows)))
    return 0
