"""HTML by construction: whatever is not markup already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any


class Markup(str):
    """Text that is HTML. Only `el` and `raw` make it."""


VOID = ("br", "meta", "hr")


def el(tag: str, *children: Any, **attributes: Any) -> Markup:
    """<tag attributes>children</tag>. `class_` and `data_x` become class and data-x; an attribute
    that is None is left out; children are markup, other values (escaped), or iterables of both."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{named}>")
    return Markup(f"<{tag}{named}>{''.join(map(text, children))}</{tag}>")


def raw(value: str) -> Markup:
    """Markup of our own."""
    return Markup(value)


def text(value: Any) -> str:
    """A child as HTML."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return "".join(map(text, value))
    return "" if value is None else html.escape(str(value))


def table(header: list[Any], rows: Iterable[list[Any]], marked: Iterable[int] = ()) -> Markup:
    """A table in a box that scrolls by itself; rows with these indices are highlighted."""
    marked = set(marked)
    body = (
        el("tr", (el("td", cell) for cell in row), class_="differs" if i in marked else None)
        for i, row in enumerate(rows)
    )
    head = el("thead", el("tr", (el("th", cell) for cell in header)))
    return el("div", el("table", head, el("tbody", body)), class_="scroll")


def details(title: str, *children: Any) -> Markup:
    """What is folded away under a title."""
    return el("details", el("summary", title), *children)
