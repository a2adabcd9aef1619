"""Which implementation of an op runs, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

NAMES = ("reference", "xla", "pallas_tpu", "pallas_gpu")


class ImplementationError(ValueError):
    """An implementation was asked for that does not exist or cannot run."""


class Choice(NamedTuple):
    """What runs, why, and why each other one does not."""

    op: str
    implementation: str
    reason: str
    refused: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.op}: {self.implementation} ({self.reason})"]
        return "\n".join(lines + [f"  not {name}: {why}" for name, why in self.refused.items()])


def choose(op: str, requested: str | None, available: Mapping[str, Any], t: int) -> Choice:
    """The implementation for `t` tokens on the default backend.

    One token runs the recurrence itself; anything longer the chunked form. A request is obeyed or
    refused (ImplementationError), never replaced.
    """
    missing = {
        name: f"this version has no such kernel for {op}" for name in NAMES if name not in available
    }
    if requested is not None:
        if requested in available:
            return Choice(op, requested, "asked for", missing)
        why = missing.get(requested, "no implementation has this name")
        raise ImplementationError(
            f"{op}: implementation {requested!r} cannot run: {why}; available here: "
            f"{', '.join(available)}; None chooses"
        )
    if t == 1:
        return Choice(
            op, "reference", "one token", missing | {"xla": "chunks pay off from two tokens on"}
        )
    reason = f"chunked, t={t}, on {jax.default_backend()}"
    return Choice(op, "xla", reason, missing | {"reference": "a token scan keeps every state"})
