"""Presets by name: the public functions of the modules in `configs` that return a RunConfig."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType

from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.load import validate
from jaxlin.config.run import RunConfig

PACKAGE = "configs"


def names() -> dict[str, str]:
    """Every preset's name and the first line of its docstring."""
    return {name: _first_line(make) for name, make in sorted(_functions().items())}


def preset(name: str) -> RunConfig:
    """The checked config of a preset. Raises ConfigError with the nearest name."""
    known = _functions()
    if name not in known:
        raise ConfigError(f"{name!r} is no preset{nearest(name, known)}")
    return validate(known[name](), f"preset {name}")


def _functions() -> dict[str, Callable[[], RunConfig]]:
    found: dict[str, Callable[[], RunConfig]] = {}
    package = importlib.import_module(PACKAGE)
    for info in pkgutil.iter_modules(package.__path__, f"{PACKAGE}."):
        for name, make in _presets(importlib.import_module(info.name)).items():
            if name in found:
                raise ConfigError(f"preset {name!r} is in {found[name].__module__} and {info.name}")
            found[name] = make
    return found


def _presets(module: ModuleType) -> dict[str, Callable[[], RunConfig]]:
    # An annotation is text where the module postpones the evaluation of annotations.
    return {
        name: make
        for name, make in inspect.getmembers(module, inspect.isfunction)
        if make.__module__ == module.__name__
        and not name.startswith("_")
        and not inspect.signature(make).parameters  # those that take some are what presets share
        and make.__annotations__.get("return") in (RunConfig, "RunConfig")
    }


def _first_line(make: Callable[[], RunConfig]) -> str:
    return (inspect.getdoc(make) or "").partition("\n")[0]
