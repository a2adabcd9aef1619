"""Which implementation of an op runs: one table, and the words of every refusal.

An implementation beyond "reference" and "xla" is the module kernels_pallas.<op>.<implementation>,
imported when it is first asked. It exports
    refusal(call, chip) -> str: "" where it can run, else why not, in a few words;
    run(call, chip, tokens, initial_state, scale, chunk_size, interpret) -> (outputs, state);
and may export
    plan_words(call, chip, chunk_size) -> str: the blocks it would use and where they are from.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip, automatic_axes

NAMES = ("reference", "xla", "pallas_tpu", "pallas_gpu")
# The chip that a kernel is planned for when it is interpreted on another platform.
INTERPRETED = {
    "pallas_tpu": Chip("tpu", "TPU v6 lite"),
    "pallas_gpu": Chip("gpu", "NVIDIA H100 80GB HBM3"),
}


class ImplementationError(ValueError):
    """An implementation was asked for that does not exist or cannot run."""


class Rule(NamedTuple):
    """Where `applies`, `implementation` runs, unless it refuses; `words` say the same."""

    words: str
    applies: Callable[[Call, Chip], bool]
    implementation: str


# Read from above; the first that applies and is not refused is taken.
RULES = (
    Rule("one token needs no chunks", lambda call, chip: call.t == 1, "reference"),
    Rule("kernels on TPU", lambda call, chip: chip.platform == "tpu", "pallas_tpu"),
    Rule(
        "additive, at most one decay a head, on GPU",
        lambda call, chip: (
            chip.platform == "gpu"
            and call.op == "linear_attention"
            and call.decay in ("none", "head")
        ),
        "pallas_gpu",
    ),
    Rule("chunks of matrix products", lambda call, chip: True, "xla"),
)


class Choice(NamedTuple):
    """What runs, why, and the chip it is planned for."""

    implementation: str
    reason: str
    chip: Chip


def choose(call: Call, chip: Chip, requested: str | None = None, interpret: Any = False) -> Choice:
    """The implementation for `call`. A request is obeyed or refused, never replaced.

    Raises:
        ImplementationError: the one asked for does not exist or cannot run; says what can.
    """
    if requested is None:
        rule = next(rule for rule in RULES if _takes(rule, call, chip))
        return Choice(rule.implementation, rule.words, chip)
    if requested not in NAMES:
        near = difflib.get_close_matches(str(requested), NAMES, 1, cutoff=0.5)
        raise ImplementationError(
            f"{call.op}: no implementation is called {requested!r}; "
            f"{f'did you mean {near[0]!r}? Known' if near else 'known'}: {', '.join(NAMES)}; "
            "None chooses"
        )
    if why := refusal(requested, call, chip, interpret):
        can = [name for name in NAMES if not refusal(name, call, chip, interpret)]
        raise ImplementationError(
            f"{call.op}: implementation {requested!r} cannot run: {why}; what can: "
            f"{', '.join(can)}; None chooses"
        )
    return Choice(requested, "asked for", chip_for(requested, chip, interpret))


def _takes(rule: Rule, call: Call, chip: Chip) -> bool:
    return rule.applies(call, chip) and not refusal(rule.implementation, call, chip)


def refusal(implementation: str, call: Call, chip: Chip, interpret: Any = False) -> str:
    """Why `implementation` cannot run here; "" where it can.

    With `interpret` it is asked about a chip of its own platform, and the compiler may split it.
    """
    if implementation not in INTERPRETED:
        return ""
    module = load(call.op, implementation)
    if module is None:
        return f"this version has no such kernel for {call.op}"
    if not interpret and (axes := automatic_axes()):
        return (
            f"the compiler cannot split a kernel over the mesh axes {', '.join(axes)}: call the op "
            "inside jax.shard_map, as kernels_pallas.per_device does"
        )
    return module.refusal(call, chip_for(implementation, chip, interpret))


def chip_for(implementation: str, chip: Chip, interpret: Any) -> Chip:
    """`chip`, or the one that stands in for it when a kernel is interpreted elsewhere."""
    other = INTERPRETED.get(implementation, chip)
    return other if interpret and other.platform != chip.platform else chip


def load(op: str, implementation: str) -> Any:
    """The module kernels_pallas.<op>.<implementation>, None where there is none."""
    name = f"kernels_pallas.{op}.{implementation}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def run_kernel(
    call: Call,
    choice: Choice,
    tokens: Any,
    initial_state: Any,
    scale: float | None,
    chunk_size: int | None,
    interpret: Any,
) -> Any:
    """Outputs and final state by the chosen kernel."""
    module = load(call.op, choice.implementation)
    return module.run(call, choice.chip, tokens, initial_state, scale, chunk_size, interpret)
