"""A sweep file: Python that its user runs on purpose by naming it; it has a function `points`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxlin.config.check import refuse
from jaxlin.config.errors import ConfigError
from jaxlin.config.points import Point, problems_of

EXAMPLE = "def points(): return [Point('a', 'tiny', ('optim.lr=1e-3',), {'lr': 1e-3})]"


def load(path: Path) -> list[Point]:
    """The points of a file. Raises ConfigError for a file that is none, or gives something else."""
    make = getattr(_module(path), "points", None)
    if not callable(make):
        raise ConfigError(f"{path}: has no function `points`; it needs one, such as\n  {EXAMPLE}")
    try:
        given: Any = make()
    except ConfigError as error:
        raise ConfigError(f"{path}: points(): {error}") from error
    except (Exception, SystemExit) as error:  # the latter would end the command without a word
        raise ConfigError(f"{path}: points() failed{_where(path, error)}") from error
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | dict):
        raise ConfigError(
            f"{path}: points() gives {type(given).__name__}; allowed: Points in a list, such as\n"
            f"  {EXAMPLE}"
        )
    try:
        found = list(given)
    except (Exception, SystemExit) as error:  # a generator runs here
        raise ConfigError(f"{path}: points() failed{_where(path, error)}") from error
    problems = [(number, p) for number, one in enumerate(found, 1) for p in problems_of(one)]
    refuse([f"point {number}: {problem}" for number, problem in problems], str(path))
    return found


def _module(path: Path) -> ModuleType:
    if path.is_dir():
        near = path / "points.py"
        hint = f"; did you mean {near}?" if near.is_file() else ""
        raise ConfigError(f"{path}: is a folder; give a sweep file{hint}")
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; give a Python file with points()")
    if path.suffix != ".py":
        raise ConfigError(f"{path}: is no Python file; a sweep file is FILE.py with points()")
    spec = importlib.util.spec_from_file_location(f"jaxlin_sweep_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses of the file look themselves up there
    try:
        spec.loader.exec_module(module)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path}: cannot be loaded{_where(path, error)}") from error
    return module


def _where(path: Path, error: BaseException) -> str:
    """` at line N: KIND: MESSAGE`."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    place = f" at line {lines[-1]}" if lines else ""
    return f"{place}: {type(error).__name__}: {error}"
