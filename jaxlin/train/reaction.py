"""What the loop does about a step that the guard objects to: says it, records it, or stops."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxlin.config.errors import DivergedError
from jaxlin.config.guard import Guard
from jaxlin.train import guard
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.guard import Event
from jaxlin.train.progress import Progress
from jaxlin.train.records import Records
from jaxlin.train.state import GuardState, TrainState

ADVICE = (
    "If single batches are at fault, resume with guard.nonfinite=skip or rewind; else start "
    "another run with a lower optim.lr, a longer schedule.warmup, or optim.clip"
)


def react(
    event: Event, rule: Guard, checkpoints: Checkpoints, log: Records, progress: Progress
) -> None:
    """A skip and a logged spike become a record and a line. Raises DivergedError where the run must
    not go on: by the rule, or after too many skips in a row or rewinds."""
    why = _no_further(event, rule)
    if why is not None:
        log.write("guard", event.step, {**event._asdict(), "action": "stop"})
        raise DivergedError(
            f"step {event.step}: {event.reason}{why}; the last good step is "
            f"{event.step - max(1, event.in_row)}, {_kept(checkpoints)}. {ADVICE}"
        )
    if event.action == "rewind":
        return
    log.write("guard", event.step, event._asdict())
    done = f"; left out, {event.in_row} in a row, {event.skipped} in all"
    progress.say(f"step {event.step}  {event.reason}{done if event.action == 'skip' else ''}")


def rewind(
    event: Event,
    back: TrainState,
    past: GuardState,
    checkpoints: Checkpoints,
    log: Records,
    progress: Progress,
) -> TrainState:
    """The state `back` to go on from with the batches after the bad one. Later checkpoints, which
    belong to what is taken back, are deleted."""
    step = int(back.step)
    checkpoints.drop_after(step)
    after = guard.rewound(back, past, event.step)
    log.write("start", step, {"rewound_from": event.step})
    values = {**event._asdict(), "step": step, "from": event.step}
    log.write("guard", step, values | {"rewinds": int(after.guard.rewinds)})
    progress.say(
        f"step {event.step}  {event.reason}; back to step {step}, without the "
        f"{event.step - step} batches until here"
    )
    return after


def refuse_bad_state(step: int, state: TrainState, checkpoints: Checkpoints) -> None:
    """Raises DivergedError rather than let NaN or infinity into a checkpoint: finite gradients may
    have made infinite parameters."""
    fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    wrong = [name for name, tree in _floats(fields).items() if not guard.all_finite(tree)]
    if wrong:
        raise DivergedError(
            f"step {step}: {', '.join(wrong)} of the state are not finite; it was not saved, "
            f"{_kept(checkpoints)}. {ADVICE}"
        )


def _no_further(event: Event, rule: Guard) -> str | None:
    """Why the run cannot go on after an event; None: it can."""
    if event.action == "stop":
        return ""
    if event.action == "skip" and event.in_row > rule.max_skips:
        return f", bad step {event.in_row} in a row (guard.max_skips is {rule.max_skips})"
    if event.action == "rewind" and event.rewinds >= rule.max_rewinds:
        return f", after {event.rewinds} rewinds (guard.max_rewinds is {rule.max_rewinds})"
    return None


def _kept(checkpoints: Checkpoints) -> str:
    newest = checkpoints.latest()
    if newest is None:
        return "no state was saved before"
    return f"the newest checkpoint is step {newest} in {checkpoints.folder}"


def _floats(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tree for name, tree in fields.items() if tree is not None and name != "guard"}
