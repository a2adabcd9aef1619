"""Dotted overrides: `model.mixer.heads=8`, `model.mixer='gla(heads=8)'`, `adapters.0.rank=4`.

    path=value          a number, text, true, false, none
    path=kind           another kind starts from its defaults, the same kind keeps its values
    path=kind(f=v,...)  the same with fields set
    path=a,b            a list; also JSON: path='["a", "b"]', path='{"kind": "gla"}'

Short paths are set first, so the order in which overrides are given does not matter.
"""

from collections.abc import Iterable
from typing import Any

from jaxlin.config import crossfield, literal, strictjson
from jaxlin.config.check import check, no_field, refuse
from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.plain import defaults, join, plain
from jaxlin.config.registry import Registry
from jaxlin.config.run import RunConfig
from jaxlin.config.schema import class_of, describe, element, fields, known_paths, registry_of


def override(cfg: RunConfig, assignments: Iterable[str]) -> RunConfig:
    """`cfg` with `path=value` texts applied, checked. One ConfigError lists all problems."""
    raw, problems = plain(cfg), []
    failed: list[str] = []
    for path, text in _ordered(assignments, problems):
        if any(path.startswith(f"{stem}.") for stem in failed):
            continue  # below a kind that was not understood every further message would mislead
        try:
            _assign(raw, path.split("."), text)
        except ConfigError as error:
            problems.append(str(error))
            failed.append(path)
    found, more = check(RunConfig, raw)
    problems += more or ([] if problems else crossfield.problems(found))
    refuse(problems)
    return found


def variant(registry: Registry, text: str, where: str, current: Any = None) -> Any:
    """The config that `kind` or `kind(field=value, ...)` names; `where` is the path in messages."""
    raw = _variant(registry, text, plain(current) if current is not None else None, where, {})
    config, problems = check(registry.config(raw["kind"]), raw, where)
    refuse(problems)
    return config


def _ordered(assignments: Iterable[str], problems: list[str]) -> list[tuple[str, str]]:
    """(path, text) pairs, short paths first and list indices in order."""
    texts: dict[str, str] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        path = path.strip().removesuffix(".kind")
        if not equals or not path:
            problems.append(f"{assignment!r} is no override; write path=value, such as steps=100")
        elif texts.setdefault(path, text) != text:
            problems.append(f"{path}: is set twice, to {texts[path]!r} and to {text!r}; keep one")

    def rank(item: tuple[str, str]) -> list[int]:
        parts = item[0].split(".")
        return [len(parts), *(int(p) if p.isdecimal() else -1 for p in parts)]

    return sorted(texts.items(), key=rank)


def _assign(root: dict[str, Any], parts: list[str], text: str) -> None:
    hint, node, path = RunConfig, root, ""
    for depth, part in enumerate(parts):
        parent, path = path, join(path, part)
        hint, key = _child(hint, node, part, parent, root)
        current = _get(node, key)
        if depth < len(parts) - 1:
            node = current
        elif isinstance(node, list) and key == len(node):
            node.append(_value(text, hint, current, path, root))
        else:
            node[key] = _value(text, hint, current, path, root)


def _child(hint: Any, node: Any, part: str, parent: str, root: dict[str, Any]) -> tuple[Any, Any]:
    """(type, key) of the field or list entry `part` of a node."""
    cls, inner = class_of(hint, node), element(hint)
    named = cls if isinstance(node, dict) else None
    if named is not None and part in fields(named):
        return fields(named)[part], part
    if named is not None:
        raise ConfigError(no_field(join(parent, part), named, known_paths(RunConfig, root)))
    if inner is None or not isinstance(node, list):
        raise ConfigError(f"{join(parent, part)}: {parent} is no node but {describe(hint)}")
    # One past the end appends.
    if not part.isdecimal() or int(part) > len(node):
        raise ConfigError(
            f"{join(parent, part)}: {parent} has {len(node)} entries, counted from 0; "
            f"the next free one is {parent}.{len(node)}"
        )
    return inner, int(part)


def _get(node: Any, key: Any) -> Any:
    if isinstance(node, list):
        return node[key] if key < len(node) else None
    return node.get(key)


def _value(text: str, hint: Any, current: Any, path: str, root: dict[str, Any]) -> Any:
    """Plain data for the text of an override."""
    registry, kinds, cls = registry_of(hint), registry_of(element(hint)), class_of(hint, None)
    if registry is not None:
        return _variant(registry, text, current, path, root)
    if kinds is not None and not text.startswith("["):
        parts = literal.split(text, path)
        return [_variant(kinds, part, None, join(path, i), root) for i, part in enumerate(parts)]
    if cls is not None:
        return {**(current or {}), **_object(text, path, describe(cls))}
    return literal.leaf(text, hint, path)


def _variant(
    registry: Registry, text: str, current: Any, path: str, root: dict[str, Any]
) -> dict[str, Any]:
    """Plain data of `kind(field=value, ...)` or a JSON object, over `current` of the same kind."""
    if text.startswith("{"):
        given = _object(text, path, registry.one)
        kind, arguments = given.get("kind", (current or {}).get("kind")), {}
    else:
        kind, arguments = literal.call(text, path)
        given = {"kind": kind}
    if not isinstance(kind, str) or kind not in registry:
        raise ConfigError(f"{path}: {kind!r} is no {registry.family}{nearest(str(kind), registry)}")
    cls = registry.config(kind)
    kept = current if current is not None and current.get("kind") == kind else defaults(cls)
    node = {**kept, **given}
    for name, value in arguments.items():
        if name not in fields(cls):
            raise ConfigError(no_field(join(path, name), cls, known_paths(RunConfig, root)))
        hint = fields(cls)[name]
        node[name] = _value(value, hint, node.get(name), join(path, name), root)
    return node


def _object(text: str, path: str, allowed: str) -> dict[str, Any]:
    value = strictjson.parse(text, path)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: found {text!r}; allowed: {allowed}")
    return value
