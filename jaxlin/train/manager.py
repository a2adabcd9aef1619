"""Orbax's manager of checkpoints, with the points at which the fault tests end a process."""

from __future__ import annotations

from functools import partial
from typing import Any

import orbax.checkpoint as ocp

from jaxlin.train.faults import fault


class Manager(ocp.CheckpointManager):
    """Deletes old steps after each save, and when asked."""

    def collect(self) -> None:
        """Deletes what the policy does not keep: a kill after the last save may have left it."""
        self.wait_until_finished()
        for step in self._get_old_steps_to_remove():
            self.delete(step)

    def _finalize_checkpoint(self, step: int) -> None:
        super()._finalize_checkpoint(step)
        fault("checkpoint.gc")


def committing() -> ocp.AsyncOptions:
    """Options with the point between the last file of a checkpoint and its renaming.

    Folders are made in the foreground: one that cannot be made in the background leaves threads
    that wait for it, and the process with them, for twenty minutes.
    """
    return ocp.AsyncOptions(
        post_finalization_callback=partial(fault, "checkpoint.commit"),
        create_directories_asynchronously=False,
    )


def state_handler() -> ocp.PyTreeCheckpointHandler:
    """Saves a state in a thread, with a point where that thread waits for the files."""
    return ocp.PyTreeCheckpointHandler(handler_impl=_Writer())


class _Writer(ocp.BasePyTreeCheckpointHandler):
    async def async_save(self, *args: Any, **kwargs: Any) -> Any:
        futures = await super().async_save(*args, **kwargs)
        return [_Writing(), *(futures or [])]


class _Writing:
    """A future that the saving thread waits for before it waits for the files."""

    def result(self, timeout: float | None = None) -> None:
        fault("checkpoint.write")

    def cancel(self) -> None:
        pass
