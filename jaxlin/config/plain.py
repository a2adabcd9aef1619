"""Configs as plain data (dicts, lists, numbers, text) and as the text of an override."""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from jaxlin.config.errors import ConfigError

BARE = re.compile(r"[A-Za-z0-9_./*:+\\|^$?-]+")  # text that needs no quotes inside brackets
NONE = ("none", "None", "null")


def plain(value: Any, path: str = "") -> Any:
    """A copy made of dicts, lists, text, numbers, bools and None. ConfigError for anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {name: plain(item, join(path, name)) for name, item in items.items()}
    if isinstance(value, dict):
        return {_key(key, path): plain(item, join(path, key)) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item, join(path, i)) for i, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ConfigError(
        f"{path}: found {show(value)} of type {type(value).__name__}; "
        "allowed: text, numbers, true, false, none, lists and configs"
    )


def defaults(cls: type) -> dict[str, Any]:
    """The fields of a config class that have defaults, as plain data."""
    found = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = plain(field.default_factory())
    return found


def join(path: str, name: object) -> str:
    """`path.name`, or `name` at the top."""
    return f"{path}.{name}" if path else str(name)


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of all leaves, empty lists and objects among them."""
    if not isinstance(node, (dict, list)) or not node:
        yield path, node
        return
    for name, item in node.items() if isinstance(node, dict) else enumerate(node):
        yield from leaves(item, join(path, name))


def show(value: Any, limit: int = 80) -> str:
    """A value as users write it, for messages; long ones are cut."""
    words = {None: "none", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else _repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def text(value: Any) -> str:
    """A field's value (also a config) as `override` reads it: `gla(heads=8)`, `1e-3`, `none`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _call(value)
    if isinstance(value, (tuple, list)):
        return json.dumps(plain(value))
    if isinstance(value, str):
        special = value.strip() != value or value in NONE or value[:1] in ("'", '"', "[", "{")
        return json.dumps(value) if special else value
    return show(value, limit=10**9)


def _call(config: Any) -> str:
    start = defaults(type(config))
    changed = [
        f"{f.name}={_argument(getattr(config, f.name))}"
        for f in dataclasses.fields(config)
        if f.name != "kind" and plain(getattr(config, f.name)) != start.get(f.name, ...)
    ]
    kind = getattr(config, "kind", None)
    if kind is None:
        return json.dumps(plain(config))
    return f"{kind}({', '.join(changed)})" if changed else kind


def _argument(value: Any) -> str:
    quoted = isinstance(value, str) and (value in NONE or not BARE.fullmatch(value))
    return json.dumps(value) if quoted else text(value)


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise ConfigError(f"{join(path, show(key))}: field names are text, found {show(key)}")
    return key


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer with more digits than Python converts
        return f"a whole number of {value.bit_length()} bits"
