"""Configs in and out: checked at the edge, written so that reading gives the same config back."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeGuard

from jaxlin.config import crossfield, strictjson
from jaxlin.config.check import check, refuse
from jaxlin.config.errors import ConfigError
from jaxlin.config.override import override
from jaxlin.config.plain import join, plain, show
from jaxlin.config.run import FORMAT_VERSION, RunConfig
from jaxlin.config.schema import adapter

__all__ = ["difference", "from_json", "json_schema", "override", "read", "to_json", "validate"]


def validate(raw: dict[str, Any] | RunConfig, where: str = "") -> RunConfig:
    """The checked config.

    Raises one ConfigError that lists every problem by path. How fields fit together is checked once
    each of them is right by itself.
    """
    try:
        data = plain(raw)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from None
    cfg, problems = check(RunConfig, data)
    refuse(problems or crossfield.problems(cfg), where)
    return cfg


def to_json(cfg: RunConfig) -> str:
    """The whole config with its kinds and the format version; `from_json` reads it back."""
    return json.dumps({"format_version": FORMAT_VERSION, **plain(cfg)}, indent=2) + "\n"


def from_json(text: str | bytes, where: str) -> RunConfig:
    """The config in a JSON text; fields that it leaves out have their defaults."""
    raw = strictjson.parse(text, where)
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: a config is a JSON object, found {show(raw)}")
    version = raw.pop("format_version", FORMAT_VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ConfigError(f"{where}: format_version: found {show(version)}; allowed: 1 and up")
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"{where}: format_version: {show(version)} was written by a newer jaxlin; this one "
            f"reads up to {FORMAT_VERSION}: upgrade jaxlin"
        )
    return validate(raw, where)


def read(path: str | Path) -> RunConfig:
    """The config in a file (UTF-8 JSON, at most 1 MB)."""
    return from_json(strictjson.read_bytes(Path(path)), str(path))


def difference(a: Any, b: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(path, value in a, value in b) wherever two configs differ; a changed kind is one entry.

    `path=text(value in b)` for each entry, given to `override`, turns a into b.
    """
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        found = [
            difference(getattr(a, f.name), getattr(b, f.name), join(path, f.name))
            for f in dataclasses.fields(a)
        ]
    elif _listed(a) and _listed(b) and len(a) == len(b):
        found = [difference(x, y, join(path, i)) for i, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        return [] if a == b else [(path, a, b)]
    return [entry for entries in found for entry in entries]


def json_schema() -> dict[str, Any]:
    """JSON schema of config files, for editors and other programs."""
    listed = adapter(RunConfig).json_schema()
    schema = {**listed["$defs"].pop("RunConfig"), "$defs": listed["$defs"]}
    version = {"type": "integer", "minimum": 1, "maximum": FORMAT_VERSION}
    schema["properties"] = {"format_version": version, **schema["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _listed(value: Any) -> TypeGuard[tuple]:
    """A tuple of configs, which is compared entry by entry."""
    return isinstance(value, tuple) and any(dataclasses.is_dataclass(item) for item in value)
