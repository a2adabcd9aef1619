"""Cards: texts with blocks made from results, between `<!-- NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

BLOCK = "<!-- {} -->"


def fill(card: str, blocks: Mapping[str, str]) -> str:
    """The card with these blocks made anew; other text stays as it is."""
    for name, text in blocks.items():
        begin, end = BLOCK.format(name), BLOCK.format("end")
        pattern = re.escape(begin) + r".*?" + re.escape(end)
        whole = f"{begin}\n{text}\n{end}"
        card = re.sub(pattern, lambda _, whole=whole: whole, card, flags=re.DOTALL)
    return card


def pipe_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
