"""Nested dicts and lists as YAML: strings in double quotes, texts of several lines as blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

WORDS = ("true", "false", "yes", "no", "on", "off", "y", "n", "null")  # that are no strings


def dump(value: Mapping[str, Any]) -> str:
    """A document. Keys must be plain words; strings may hold anything printable."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _entry(f"{_key(key)}:", item)]
    return [line for item in value for line in _entry("-", item)]


def _entry(head: str, value: Any) -> list[str]:
    if isinstance(value, str) and "\n" in value:
        return [f"{head} |", *(f"  {line}" if line else "" for line in value.strip().split("\n"))]
    if not isinstance(value, Mapping | list | tuple) or not value:
        return [f"{head} {json.dumps(value, ensure_ascii=False)}"]
    below = _lines(value)
    if head == "-":  # the first line stands beside the dash
        return [f"- {below[0]}", *(f"  {line}" if line else "" for line in below[1:])]
    return [head, *(f"  {line}" if line else "" for line in below)]


def _key(key: str) -> str:
    """Quoted where YAML would take it for something else."""
    plain = key.isascii() and key.isidentifier() and key.lower() not in WORDS
    return key if plain else json.dumps(key, ensure_ascii=False)


def commented(lines: Sequence[str], text: str) -> str:
    """The document with comments above it."""
    return "".join(f"# {line}\n" for line in lines) + text
