"""Tells what an op would run, without running it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from kernels_pallas.call import Call
from kernels_pallas.checked import OPS, checked
from kernels_pallas.chip import Chip, target
from kernels_pallas.dispatch import NAMES, Choice, choose, load, refusal
from kernels_pallas.shapes import check_chunk_size


class Explanation(NamedTuple):
    """What runs and why, its blocks and where they are from, why each other one does not run."""

    call: Call
    chip: Chip
    implementation: str
    reason: str
    blocks: str  # "" where the implementation tells nothing of them
    refused: dict[str, str]

    def __str__(self) -> str:
        call, decay = self.call, {"none": "no decay", "head": "a decay a head"}
        sizes = f"b={call.b} t={call.t} h={call.h} k={call.k} v={call.v} {call.dtype}"
        lines = [
            f"{call.op}: {self.implementation} ({self.reason})",
            f"  call: {sizes}, {decay.get(call.decay, 'a decay a key')}, on {self.chip.kind}",
        ]
        if self.blocks:
            lines.append(f"  blocks: {self.blocks}")
        return "\n".join(lines + [f"  not {name}: {why}" for name, why in self.refused.items()])


def explain(op: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """What `op(*args, **kwargs)` would run and why the others would not; print it.

    `op` is an op or its name; the rest is what the op takes, with `jax.ShapeDtypeStruct`s in the
    place of arrays where that is easier. It is checked as the op checks it.

    Raises:
        ImplementationError: the call itself would refuse the implementation.
        ValueError: no op of this name, or the call itself would refuse an argument.
    """
    name = op if isinstance(op, str) else getattr(op, "__name__", str(op))
    if name not in OPS:
        near = difflib.get_close_matches(name, OPS, 1, cutoff=0.5)
        raise ValueError(
            f"explain: {name!r} is no op; known: {', '.join(OPS)}"
            f"{f'; did you mean {near[0]!r}?' if near else ''}"
        )
    given = inspect.signature(getattr(OPS[name], name)).bind(*args, **kwargs)
    given.apply_defaults()
    call = checked(name, given.arguments)
    chunk_size, interpret = (given.arguments[n] for n in ("chunk_size", "interpret"))
    check_chunk_size(name, chunk_size)
    choice = choose(call, target(), given.arguments["implementation"], interpret)
    refused = {
        other: refusal(other, call, target(), interpret) or _not_taken(choice)
        for other in NAMES
        if other != choice.implementation
    }
    blocks = _blocks(call, choice, chunk_size)
    return Explanation(call, choice.chip, choice.implementation, choice.reason, blocks, refused)


def _not_taken(choice: Choice) -> str:
    if choice.reason == "asked for":
        return f"{choice.implementation} was asked for"
    return f"it can run; the table prefers {choice.implementation} here"


def _blocks(call: Call, choice: Choice, chunk_size: int | None) -> str:
    words = getattr(load(call.op, choice.implementation), "plan_words", None)
    return words(call, choice.chip, chunk_size) if words else ""
