"""What the type hints of a config class say: its fields, their kinds, the values they allow."""

import dataclasses
import types
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter
from pydantic.fields import FieldInfo

from jaxlin.config.kinds import OneOf
from jaxlin.config.plain import join
from jaxlin.config.registry import FAMILIES, Registry

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
BASE_TEXT = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    type(None): "none",
}
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def adapter(cls: type) -> TypeAdapter:
    """Pydantic's strict checker of a list of `cls`, with the kinds known now."""
    return _adapter(cls, tuple(family.config(kind) for family in FAMILIES for kind in family))


@lru_cache
def _adapter(cls: type, known: tuple[type, ...]) -> TypeAdapter:
    # `known` is in the key of the cache: a kind that is registered later makes a new checker.
    # A list, because pydantic hands its settings down from there to plain dataclasses.
    return TypeAdapter(list[cls], config=STRICT)


@cache
def fields(cls: type) -> dict[str, Any]:
    """Type hints of the fields of a config class."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def registry_of(hint: Any) -> Registry | None:
    """The registry whose kinds the field holds, if it holds kinds."""
    marks = getattr(hint, "__metadata__", ())
    return next((mark.registry for mark in marks if isinstance(mark, OneOf)), None)


def members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; any other hint is its own single alternative."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def element(hint: Any) -> Any:
    """The element type of a `tuple[T, ...]` (also as a member of a union); None for other types."""
    for member in members(hint):
        if get_origin(member) is tuple:
            return get_args(member)[0]
    return None


def class_of(hint: Any, node: Any) -> type | None:
    """The config class of a node, for a union of kinds by its `kind`; None if it is a leaf."""
    registry = registry_of(hint)
    if registry is not None:
        kind = node.get("kind") if isinstance(node, dict) else None
        return registry.config(kind) if isinstance(kind, str) and kind in registry else None
    found = [m for m in members(hint) if isinstance(m, type) and dataclasses.is_dataclass(m)]
    return found[0] if found else None


def known_paths(cls: type, node: Any, path: str = "") -> Iterator[str]:
    """Paths of all fields of a config, for the kinds that its plain data `node` chose."""
    for name, hint in fields(cls).items():
        below = node.get(name) if isinstance(node, dict) else None
        inner = class_of(hint, below)
        yield join(path, name)
        if inner is not None:
            yield from known_paths(inner, below, join(path, name))


def choices(hint: Any) -> tuple[Any, ...]:
    """The values of the Literals in a hint."""
    hit = [get_args(m) for m in members(hint) if get_origin(m) is Literal]
    return tuple(value for values in hit for value in values)


def describe(hint: Any) -> str:
    """The allowed values in words, such as `a whole number > 0 or none`."""
    if len(members(hint)) > 1:
        return " or ".join(describe(member) for member in members(hint))
    registry = registry_of(hint)
    if registry is not None:
        return f"{registry.one}: {', '.join(registry)}"
    if get_origin(hint) is Annotated:
        return _annotated(*get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(repr(value) for value in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list, each {describe(get_args(hint)[0])}"
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return f"an object with fields {', '.join(fields(hint))}"
    return BASE_TEXT.get(hint, str(hint))


def _annotated(base: Any, *marks: Any) -> str:
    infos = [mark for mark in marks if isinstance(mark, FieldInfo)]
    for info in infos:
        if info.description:
            return info.description
    bounds = [
        f"{sign} {getattr(bound, name):g}" if base is float else f"{sign} {getattr(bound, name)}"
        for info in infos
        for bound in info.metadata
        for name, sign in BOUNDS.items()
        if hasattr(bound, name)
    ]
    text = BASE_TEXT.get(base, str(base)).replace("finite ", "" if bounds else "finite ")
    return f"{text} {' and '.join(bounds)}".strip()
