"""Checks plain data against a config class; says every mistake in terms of the user's path."""

import difflib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import ValidationError

from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.plain import join, leaves, show
from jaxlin.config.schema import (
    adapter,
    choices,
    class_of,
    describe,
    element,
    fields,
    known_paths,
    registry_of,
)

LARGEST = 2**53  # up to here whole numbers survive JSON and floats
MOST = 100  # problems that are worked out; a file of another kind has a mistake in every line


class Place(NamedTuple):
    """Where a mistake is: its path, the type there, the class that owns the field."""

    path: str
    hint: Any
    owner: type | None
    branched: bool  # reached through an alternative of a plain union


def check(cls: type, raw: dict[str, Any], at: str = "") -> tuple[Any, list[str]]:
    """(config, no problems) or (None, problems); `at` is the path of `raw` itself."""
    unfit = [problem for path, value in leaves(raw, at) if (problem := _unfit(path, value))]
    if unfit:
        return None, unfit
    try:
        return adapter(cls).validate_json(json.dumps([raw]))[0], []
    except ValidationError as error:
        found = error.errors(include_url=False)[:MOST]
    places = [locate(cls, mistake["loc"][1:], at) for mistake in found]
    known = [] if at else list(known_paths(cls, raw))
    problems: dict[str, str] = {}
    for mistake, place in zip(found, places, strict=True):
        # Of a union's alternatives, the one that came furthest is the one that was meant.
        deeper = any(other.path.startswith(f"{place.path}.") for other in places)
        if not (place.branched and deeper):
            problems.setdefault(place.path, _sentence(mistake, place, known))
    return None, list(problems.values())


def locate(cls: type, location: tuple[str | int, ...], at: str) -> Place:
    """The place of a pydantic location, which names kinds and union alternatives as well."""
    path, hint, owner, branched = at, cls, None, False
    for part in location:
        registry = registry_of(hint)
        node = None if registry else class_of(hint, None)
        if registry is not None:
            hint = registry.config(str(part))
        elif node is not None:
            path, hint, owner = join(path, part), fields(node).get(str(part)), node
        elif isinstance(part, int):
            path, hint = join(path, part), element(hint)
        else:
            branched = True
    return Place(path, hint, owner, branched)


def no_field(path: str, owner: type, known: Iterable[str]) -> str:
    """The sentence for an unknown field: its nearest sibling, or the same name elsewhere."""
    name = path.rpartition(".")[2]
    elsewhere = [p for p in known if p.endswith(f".{name}")]
    near = nearest(name, fields(owner))
    if elsewhere and not difflib.get_close_matches(name, fields(owner), cutoff=0.75):
        near = f"; did you mean {' or '.join(map(repr, elsewhere[:3]))}?"
    kind = getattr(owner, "kind", None)
    return f"{path}: {f'{kind} has no such field' if kind else 'no such field'}{near}"


def wrong(path: str, value: Any, hint: Any, why: str = "") -> str:
    """The sentence for a value that does not fit its type."""
    known = [str(choice) for choice in choices(hint)]
    near = nearest(value, known) if known and isinstance(value, str) else ""
    near = near if "did you mean" in near else ""
    why = f" ({why})" if why else ""
    return f"{path}: found {show(value)}{why}; allowed: {describe(hint)}{near}"


def refuse(problems: list[str], where: str = "") -> None:
    """Raises one ConfigError that lists all problems, if there are any."""
    if not problems:
        return
    head = f"{where}: " if where else ""
    lines = [_printable(problem) for problem in problems[:MOST]]
    if len(lines) == 1:
        raise ConfigError(head + lines[0])
    raise ConfigError("\n  ".join([f"{head}{len(problems)} problems", *lines]))


def _unfit(path: str, value: Any) -> str:
    """What JSON itself cannot carry from one program to another."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"{path}: found {show(value)}; allowed: at most {LARGEST}"
    texts = (path, value) if isinstance(value, str) else (path,)
    if any("\ud800" <= char <= "\udfff" for text in texts for char in text):
        return f"{path}: found {show(value)}; allowed: valid Unicode text"
    return ""


def _printable(text: str) -> str:
    """At most 1000 characters without control codes: names in a file may be anything."""
    clean = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:1000])
    return clean if len(text) <= 1000 else f"{clean}..."


def _sentence(mistake: Any, place: Place, known: list[str]) -> str:
    kind, value = mistake["type"], mistake["input"]
    if kind == "unexpected_keyword_argument" and place.owner is not None:
        return no_field(place.path, place.owner, known)
    if kind == "missing":
        return f"{place.path}: missing; allowed: {describe(place.hint)}"
    registry = registry_of(place.hint)
    if registry is not None and kind == "union_tag_invalid":
        tag = str(mistake["ctx"]["tag"])
        return f"{place.path}: {tag!r} is no {registry.family}{nearest(tag, registry)}"
    if registry is not None and isinstance(value, dict):
        return f"{place.path}.kind: missing; allowed: {describe(place.hint)}"
    why = str(mistake["ctx"]["error"]) if kind == "value_error" else ""
    return wrong(place.path, value, place.hint, why)
