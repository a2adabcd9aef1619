"""A registry of config kinds: the name that users write -> its config class -> what it builds.

Config classes import no jax, so that every mistake in a config is found before jax is loaded. What
a kind builds is named by `target` ("package.module:Name") and imported on first use, or is given as
the object itself where both live in one file (as in a user's own script).
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

from jaxlin.config.errors import ConfigError, nearest


class Registry:
    """Kinds of one family (mixers, adapters, ...). `package` is scanned once, on first look-up."""

    def __init__(self, family: str, package: str | None = None):
        self.family = family
        self.one = f"{'an' if family[0] in 'aeiou' else 'a'} {family}"  # for messages
        self._package = package
        self._configs: dict[str, type] = {}
        self._targets: dict[str, Any] = {}

    def register(self, kind: str, target: Any) -> Callable[[type], type]:
        """Class decorator: makes `kind` known. Raises ValueError when the name is taken."""

        def add(cls: type) -> type:
            if self._configs.get(kind, cls).__qualname__ != cls.__qualname__:
                raise ValueError(f"{self.family} {kind!r} is registered twice: {cls.__module__}")
            fields = {f.name: f for f in dataclasses.fields(cls)}
            if "kind" not in fields or fields["kind"].default != kind:
                line = f"kind: Literal[{kind!r}] = {kind!r}"
                raise ValueError(f"{cls.__name__} needs the field  {line}")
            self._configs[kind], self._targets[kind] = cls, target
            return cls

        return add

    def _discover(self) -> None:
        package, self._package = self._package, None
        if package is not None:
            for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
                importlib.import_module(f"{package}.{module.name}")

    def config(self, kind: str) -> type:
        """The config class of `kind`. Raises ConfigError with the nearest name."""
        self._discover()
        if kind not in self._configs:
            raise ConfigError(f"{kind!r} is no {self.family}{nearest(kind, self._configs)}")
        return self._configs[kind]

    def target(self, kind: str) -> Any:
        """What `kind` builds; imports it."""
        self.config(kind)
        target = self._targets[kind]
        if isinstance(target, str):
            module, _, name = target.partition(":")
            target = getattr(importlib.import_module(module), name)
        return target

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(sorted(self._configs))

    def __contains__(self, kind: object) -> bool:
        self._discover()
        return kind in self._configs


mixers = Registry("mixer", "jaxlin.config.mixers")
adapters = Registry("adapter", "jaxlin.config.adapters")
sources = Registry("data source", "jaxlin.config.sources")
optimizers = Registry("optimizer", "jaxlin.config.optimizers")
schedules = Registry("schedule", "jaxlin.config.schedules")
tasks = Registry("task", "jaxlin.config.tasks")
FAMILIES = (mixers, adapters, sources, optimizers, schedules, tasks)
