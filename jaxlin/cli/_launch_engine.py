"""What the engines that only print have in common."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jaxlin.cli import _launch_words

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig
    from jaxlin.launch.job import Job


class Rendered(NamedTuple):
    """What is printed, and what it is to be piped into."""

    text: str
    pipe: str


Render = Callable[[argparse.Namespace, "RunConfig"], Rendered]


class Engine(NamedTuple):
    """A sub-command of `jaxlin launch`. `render`: None where it starts processes itself."""

    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, RunConfig], int]
    render: Render | None = None


def printing(help: str, add: Callable[[argparse.ArgumentParser], None], render: Render) -> Engine:
    """An engine that only prints."""
    return Engine(help, add, lambda args, cfg: show(args, *render(args, cfg)), render)


def add(parser: argparse.ArgumentParser) -> None:
    """Adds what all of them take."""
    parser.add_argument(
        "--print", action="store_true", help="print it (nothing is run without it either)"
    )
    parser.add_argument("--name", help="of the run and all that is made for it (the preset's)")


def job(args: argparse.Namespace, cfg: RunConfig, folder: str) -> Job:
    """The job of the command line, with its run directory in `folder` unless --run names one. It
    trains, unless `args.instead` has the words of another command.

    Raises ConfigError if that would lie on the disk of one host.
    """
    from jaxlin.config.errors import ConfigError
    from jaxlin.launch.job import Job

    name = args.name if args.name is not None else cfg.name.replace("_", "-").lower()
    made = Job(name, ())  # the name is checked before a path is made of it
    if args.run is None:
        args.run = Path(folder) / made.name
    elif folder.startswith("/") and not args.run.is_relative_to(folder):
        raise ConfigError(
            f"--run: {args.run} would lie on the disk of one host; the folder that all of them see "
            f"is {folder}"
        )
    instead = getattr(args, "instead", None)
    return Job(name, tuple(instead or _launch_words.train(args)))


def show(args: argparse.Namespace, text: str, pipe: str) -> int:
    """Prints it; without --print also what to do with it."""
    sys.stdout.write(text)
    if not args.print:
        again = shlex.join(["jaxlin", *sys.argv[1:], "--print"])
        print(
            f"jaxlin launch: nothing was run: this version prints what is to be run. To run it:\n"
            f"  {again} {pipe}",
            file=sys.stderr,
        )
    return 0
