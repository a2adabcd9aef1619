"""The frame of the command line: finds the command, runs it, turns errors into exit codes.

A command is a module here with `HELP` (one line), `EXAMPLE`, `add(parser)` and `run(args) -> int`.
It imports jax and the like inside `run` only. Nothing has to be edited elsewhere.
"""

import argparse
import io
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import jaxlin.cli

FRAME = ("common", "main")
EXIT_CODES = """exit codes:
  0    done
  1    an error inside jaxlin (--debug shows where); a point of a sweep failed
  2    a wrong config, override, mesh or command line
  3    missing, empty or unreadable data or tokenizer
  4    a run directory or checkpoint that is none, is foreign or cannot be written
  5    the loss or a gradient stopped being finite
  6    the compiler refused a step, or it does not fit the device (`jaxlin compile`)
  75   told to stop; saved; the same command goes on
  130  interrupted by Ctrl-C
  141  the reader of the output went away"""


class Parser(argparse.ArgumentParser):
    """Reports mistakes as ConfigError, so that they look like every other one."""

    def error(self, message: str) -> NoReturn:
        from jaxlin.config.errors import ConfigError

        if message.startswith("unrecognized arguments: --") and "=" in message:
            message += " (overrides are written without dashes: path=value)"
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    _prepare_streams()
    try:
        code = _run([word for word in argv if word != "--debug"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python would try to flush once more on its way out, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return _say("interrupted", 130, debug)
    except Exception as error:
        return _report(error, debug)


def _prepare_streams() -> None:
    """Opens closed ones on the null device; lets each print what its encoding has no character for.

    The number of a closed one would go to the next file that is opened, such as a checkpoint, and
    what libraries print on standard error would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def commands() -> list[str]:
    """Names of all commands."""
    found = (info.name for info in pkgutil.iter_modules(jaxlin.cli.__path__))
    return sorted(name for name in found if name not in FRAME and not name.startswith("_"))


def load(name: str) -> ModuleType:
    """The module of a command."""
    return import_module(f"jaxlin.cli.{name}")


def _run(argv: list[str]) -> int:
    if not argv or argv[0].startswith("-"):
        return _top(argv)
    name, rest = argv[0], argv[1:]
    if name not in commands():
        from jaxlin.config.errors import ConfigError, nearest

        raise ConfigError(f"{name!r} is no command{nearest(name, commands())}")
    command = load(name)
    parser = Parser(
        prog=f"jaxlin {name}",
        description=command.HELP,
        epilog=f"example:\n  {command.EXAMPLE}\n\n--debug shows the traceback of an error.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add(parser)
    return command.run(_checked(_parse(parser, rest)))


def _parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    # Overrides may stand before and after options; argparse has this only without sub-commands.
    nested = any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)
    return parser.parse_args(argv) if nested else parser.parse_intermixed_args(argv)


def _checked(args: argparse.Namespace) -> argparse.Namespace:
    """With `~` replaced in the paths. Raises ConfigError for one that no file can have."""
    for name, value in vars(args).items():
        if isinstance(value, Path):
            from jaxlin.config.paths import user_path

            setattr(args, name, user_path(value))
    return args


def _top(argv: list[str]) -> int:
    """`jaxlin`, `jaxlin --help`, `jaxlin --version`."""
    lines = "\n".join(f"  {name:10} {load(name).HELP}" for name in commands())
    parser = Parser(
        prog="jaxlin",
        usage="jaxlin COMMAND ...    (jaxlin COMMAND --help says more, with an example)",
        description=jaxlin.__doc__,
        epilog=f"commands:\n{lines}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if parser.parse_args(argv or ["--help"]).version:
        from importlib import metadata  # slow, and only needed here

        print(f"jaxlin {metadata.version('jaxlin')}")
    return 0


def _report(error: Exception, debug: bool) -> int:
    from jaxlin.config.errors import JaxlinError

    if isinstance(error, JaxlinError):
        return _say(f"error: {error}", error.exit_code, debug)
    return _say(f"internal error: {type(error).__name__}: {error}; `--debug` shows where", 1, debug)


def _say(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    # Names of files may hold anything, also what a terminal would obey.
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in message)
    print(f"jaxlin: {shown}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
