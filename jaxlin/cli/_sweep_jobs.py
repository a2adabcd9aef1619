"""`jaxlin sweep FILE --print-jobs ENGINE`: one job a point, rendered as `jaxlin launch` does."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jaxlin.cli import common
from jaxlin.cli._launch_engine import Rendered

if TYPE_CHECKING:
    from jaxlin.config.points import Resolved

LONGEST = 31  # of a name, before the hash: clouds take 40 characters
END = "END_OF_JOB"


def show(args: argparse.Namespace, points: list[Resolved]) -> int:
    """Prints a shell script that submits the jobs, which read and write one sweep folder."""
    from jaxlin.study.sweep.folder import default_folder
    from jaxlin.study.sweep.plan import select

    engine, *options = common.split(args.print_jobs, "--print-jobs")
    parser = _parser(engine)
    place = default_folder(args.target).name
    for one in select(points, args.only):
        sys.stdout.write(_submit(_rendered(args, parser, engine, options, one, place)))
    sys.stdout.write("wait\n")
    return 0


def _parser(engine: str) -> argparse.ArgumentParser:
    """That of `jaxlin launch ENGINE`. Raises ConfigError for one that prints nothing."""
    from jaxlin.cli.launch import ENGINES
    from jaxlin.cli.main import Parser
    from jaxlin.config.errors import ConfigError, nearest

    known = {name: found for name, found in ENGINES.items() if found.render is not None}
    if engine not in known:
        raise ConfigError(f"--print-jobs: {engine!r} is no engine{nearest(engine, known)}")
    parser = Parser(prog=f"jaxlin sweep --print-jobs {engine}", allow_abbrev=False)
    known[engine].add(parser)
    common.add(parser)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    return parser


def _rendered(
    args: argparse.Namespace,
    parser: argparse.ArgumentParser,
    engine: str,
    options: list[str],
    one: Resolved,
    place: str,
) -> Rendered:
    from jaxlin.cli.launch import ENGINES
    from jaxlin.launch.job import MOUNT

    launch = parser.parse_args([*options, one.point.preset])
    launch.name = job_name(one)
    folder = args.out or (Path("sweeps") / place if engine == "slurm" else Path(MOUNT) / place)
    launch.run = folder / "runs" / one.id
    seeds = [] if args.seeds is None else ["--seeds", str(args.seeds)]
    launch.instead = [
        *("sweep", str(args.target), *args.words, *seeds),
        *("--out", str(folder), "--point", one.id),
    ]
    render = ENGINES[engine].render
    assert render is not None
    return render(launch, one.cfg)


def job_name(one: Resolved) -> str:
    """A name that clouds take."""
    slug = re.sub(r"[^a-z0-9]+", "-", one.point.name.lower()).strip("-")[:LONGEST].strip("-")
    head = slug if slug[:1].isalpha() else f"p{slug}"[:LONGEST]
    return f"{head}-{one.hash[:8]}"


def _submit(job: Rendered) -> str:
    """A file or standard input for what takes it. Scripts run side by side, each with its log."""
    if job.pipe.startswith("| "):
        return f"{job.pipe[2:]} <<'{END}'\n{job.text.rstrip()}\n{END}\n"
    file, _, command = job.pipe.removeprefix("> ").partition(" && ")
    command = command.replace("sky jobs launch", "sky jobs launch --yes --detach-run")
    return (
        f"cat > {file} <<'{END}'\n{job.text.rstrip()}\n{END}\n"
        f"{command} < /dev/null > {Path(file).stem}.log 2>&1 &\n"
    )
