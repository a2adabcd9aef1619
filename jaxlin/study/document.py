"""What every page is made of: one HTML file that loads nothing, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from jaxlin.config.errors import ConfigError
from jaxlin.study.figures import Figure
from jaxlin.study.html import Markup, el, raw
from jaxlin.study.script import SCRIPT
from jaxlin.study.style import STYLE


def write(path: Path, text: str, generator: str) -> None:
    """The page as a file, all of it or nothing. `generator`: the command that makes such pages.

    Raises ConfigError when it cannot be written, or when the file is there and is no such page.
    """
    partial = path.with_name(f".{path.name}.tmp")
    try:
        if path.exists():
            with path.open("rb") as file:
                if _mark(generator).encode() not in file.read(1000):
                    raise ConfigError(
                        f"--out: {path} exists and is no page of `{generator}`; it was left as "
                        "it is. Name another file"
                    )
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"--out: {path} cannot be written: {error}; name another file") from error


def whole(title: str, generator: str, body: Markup, drawn: list[Figure]) -> str:
    """The page with this body. `drawn`: the figures whose places are in it."""
    plotly = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    scripts = [plotly, SCRIPT] if drawn else []
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            _head(title, generator, scripts),
            "<body>",
            body,
            f'<script type="application/json" id="figures">{_json(drawn)}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body></html>\n",
        ]
    )


def plots(found: Iterable[Figure], drawn: list[Figure], wide: tuple[str, ...] = ()) -> Markup:
    """The places of these figures, which are added to those drawn; `wide`: ids that take a row."""
    found = list(found)
    drawn += found
    return el("div", (_plot(figure, figure.id in wide) for figure in found), class_="plots")


def switch(options: list[tuple[str, dict[str, str]]], now: str) -> Markup:
    """Buttons of which one is pressed; the script obeys their attributes."""
    buttons = (
        el("button", label, type="button", aria_pressed=str(label == now).lower(), **data)
        for label, data in options
    )
    return el("span", buttons, class_="switches")


def _plot(figure: Figure, wide: bool) -> Markup:
    scales = None
    if figure.scales:
        now = figure.layout["yaxis"]["type"]
        options = [
            (scale, {"data_scale": scale, "data_figure": figure.id}) for scale in ("linear", "log")
        ]
        scales = switch(options, now)
    head = el("div", el("h3", figure.title), el("span", figure.unit, class_="unit"), scales,
              class_="head")  # fmt: skip
    chart = el("div", id=figure.id, class_="chart short" if "height" in figure.layout else "chart")
    note = el("p", figure.note, class_="note")
    return el("section", head, chart, note, class_="plot wide" if wide else "plot")


def _mark(generator: str) -> str:
    return f'<meta name="generator" content="{generator}">'


def _head(title: str, generator: str, scripts: list[str]) -> Markup:
    """Only these scripts may run, and nothing may be loaded."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src {allowed or "'none'"}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return el(
        "head",
        el("meta", charset="utf-8"),
        raw(_mark(generator)),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title} – {generator}"),
        raw(f"<style>{STYLE}</style>"),
    )


def _json(drawn: list[Figure]) -> str:
    """JSON that cannot end the script element it stands in."""
    plain = [{"id": f.id, "data": f.data, "layout": f.layout} for f in drawn]
    return json.dumps(plain, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
