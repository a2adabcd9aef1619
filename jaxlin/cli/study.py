"""`jaxlin study`: what a sweep of mixers and ratios found, as a page with tables."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "what a sweep of mixers and ratios found: one HTML page, CSV and LaTeX tables"
EXAMPLE = """jaxlin study report sweeps/hybrid_study
  jaxlin study report experiments/hybrid_study/results --out study.html"""
REPORT = "write the page of a sweep, with its tables beside it"
PAGE = "study.html"


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    report = commands.add_parser(
        "report",
        help=REPORT,
        description=REPORT,
        epilog=f"example:\n  {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    report.add_argument(
        "sweep", type=Path, metavar="SWEEP", help="folder with sweep.json and results.jsonl"
    )
    report.add_argument("--out", type=Path, metavar="FILE", help=f"the page (SWEEP/{PAGE})")
    report.add_argument(
        "--published",
        type=Path,
        metavar="FILE",
        help="published figures (published.json in SWEEP, above it, or beside the sweep file)",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the page; loads no jax."""
    from jaxlin.study.grid import files, page, published, read

    study = read.read(args.sweep)
    found = args.published or published.beside(args.sweep, study.about)
    figures = published.read(found) if found else None
    out = args.out or args.sweep / PAGE
    tables = files.write(out, page.report(study, figures, _command(args)))
    print(f"published figures: {found or 'none; give them with --published'}")
    print(f"wrote {out}: open it in a browser; its tables as CSV and LaTeX are in {tables}")
    return 0


def _command(args: argparse.Namespace) -> list[str]:
    """The command as it can be given again."""
    words = ["jaxlin", "study", "report", str(args.sweep)]
    for name in ("out", "published"):
        if value := getattr(args, name):
            words += [f"--{name}", str(value)]
    return words
