"""`jaxlin quickstart`: trains the preset, measures it on all held-out bytes, lets it speak, and
writes the page that shows the run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlin.cli import _tables, eval, generate, report, train

if TYPE_CHECKING:
    from jaxlin.data.corpus import Corpus

HELP = "train a small hybrid on Python's own library, measure it, let it write, show it"
EXAMPLE = "jaxlin quickstart"

PROMPT, TOKENS = "def ", 240
NEXT = """what to try next:
  jaxlin generate {run} --prompt 'import ' --tokens 400 --temperature 0.6
  jaxlin train quickstart model.mixer='gla(heads=4)' optim.lr=2e-3
  jaxlin train quickstart data=text data.paths='my/*.txt' steps=1000
  jaxlin params quickstart"""


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "changes", nargs="*", metavar="path=value", help="overrides of the preset, as steps=600"
    )
    parser.add_argument("--run", metavar="DIR", type=Path, help="run directory")


def run(args: argparse.Namespace) -> int:
    """A finished run is not trained again."""
    from jaxlin.config.override import override
    from jaxlin.config.presets import preset
    from jaxlin.evals.settings import Sampling

    cfg = override(preset("quickstart"), args.changes)
    folder = (args.run or train.default_folder(cfg)).expanduser()
    train.refuse_other_run(folder, cfg)

    from jaxlin.data import corpus as corpora
    from jaxlin.train.loop import train as fit

    corpus = corpora.load(cfg.data)  # refuses a task, which has no text to compare on
    fit(cfg, folder)
    result = eval.measure(folder, cfg, corpus)
    print()
    generate.speak(folder, cfg, [PROMPT], TOKENS, Sampling(temperature=0.7))
    print()
    _compare(result, corpus)
    print(f"{report.make([folder], folder / report.PAGE)} shows it all: open it in a browser\n")
    print(NEXT.format(run=folder))
    return 0


def _compare(result: dict[str, Any], corpus: Corpus) -> None:
    """The model beside what it has to beat, on the same bytes."""
    from jaxlin.evals.baselines import baselines
    from jaxlin.evals.report import comparison_rows

    others = baselines(corpus.train_text(), corpus.held_out_text())
    name = f"this model, step {result['step']}"
    _tables.show(
        f"{result['bytes']:,} held-out bytes (files that were not trained on)",
        ["", "bits per byte", "of 8 bits"],
        comparison_rows(name, result["bits_per_byte"], others),
    )
