"""Values as users type them: `8`, `none`, `a,b`, `[1, 2]`, `gla(heads=8, gate=scalar)`."""

import json
import re
from typing import Annotated, Any, Literal, get_args, get_origin

from jaxlin.config import strictjson
from jaxlin.config.errors import ConfigError
from jaxlin.config.plain import NONE
from jaxlin.config.schema import element, members

BOOLS = {"true": True, "True": True, "false": False, "False": False}
CLOSING = {"(": ")", "[": "]", "{": "}"}


def leaf(text: str, hint: Any, path: str) -> Any:
    """Plain data for a typed leaf. What does not fit stays text, which the check then refuses."""
    if type(None) in members(hint) and text in NONE:
        return None
    inner = element(hint)
    if inner is not None and (text.startswith("[") or len(members(hint)) == 1):
        return entries(text, inner, path)
    for member in members(hint):
        base = get_args(member)[0] if get_origin(member) is Annotated else member
        try:
            return _scalar(text, base)
        except ValueError:
            continue
    return unquote(text)


def entries(text: str, inner: Any, path: str) -> list[Any]:
    """A list: JSON, or values between commas; one value is a list of one."""
    if text.startswith("["):
        try:
            value = strictjson.parse(text, path)
        except ConfigError as error:  # mostly for want of quotes, which shells take away
            raise ConfigError(f"""{error}; write a list as '["a", "b"]'""") from None
        return value if isinstance(value, list) else [value]
    return [leaf(part, inner, path) for part in split(text, path)] if text else []


def call(text: str, path: str) -> tuple[str, dict[str, str]]:
    """`name(field=value, ...)` or `name` -> the name and the texts of the values."""
    match = re.fullmatch(r"\s*([\w.-]+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if match is None:
        raise ConfigError(f"{path}: found {text!r}; write it as kind(field=value, field=value)")
    arguments: dict[str, str] = {}
    for part in split(match[2] or "", path):
        field, equals, value = part.partition("=")
        if not equals or field.strip() in arguments:
            why = "is given twice" if equals else "has no '='"
            raise ConfigError(
                f"{path}: {field.strip()!r} in {text!r} {why}; write kind(field=value, field=value)"
            )
        arguments[field.strip()] = value.strip()
    return match[1], arguments


def split(text: str, path: str) -> list[str]:
    """The parts between commas that stand outside of brackets and quotes."""
    if "," not in text:
        return [text.strip()] if text.strip() else []
    parts, start, closing, quote = [], 0, [], ""
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[i - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in CLOSING:
            closing.append(CLOSING[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char == "," and not closing:
            parts.append(text[start:i])
            start = i + 1
    if quote or closing:
        missing = quote or closing[-1]
        raise ConfigError(f"{path}: {text!r} lacks a closing {missing}; a JSON list works as well")
    return [part.strip() for part in [*parts, text[start:]]]


def unquote(text: str) -> str:
    """The text inside one pair of quotes; other text as it is."""
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        return text
    try:
        return json.loads(text) if text[0] == '"' else text[1:-1]
    except ValueError:
        return text


def _scalar(text: str, base: Any) -> Any:
    if base is bool:
        if text not in BOOLS:
            raise ValueError
        return BOOLS[text]
    if base in (int, float):
        return base(text)
    if base is str:
        return unquote(text)
    if get_origin(base) is Literal:
        known = {str(choice): choice for choice in get_args(base)}
        if unquote(text) in known:
            return known[unquote(text)]
    raise ValueError
