"""Checkpoints of a run: saved in the background, restored exactly or refused with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array
from orbax.checkpoint import checkpoint_managers as policies

from jaxlin.config.errors import CheckpointError
from jaxlin.config.run import Checkpoint
from jaxlin.parallel.paths import flatten
from jaxlin.parallel.table import align
from jaxlin.train.faults import fault
from jaxlin.train.manager import Manager, committing, state_handler

FORMAT_VERSION = 1
# Names of the two items in a step's folder; constants, since Orbax joins them to the path as given.
STATE, META = "state", "meta"


class Checkpoints:
    """The folder `checkpoints` of a run. `clock` gives seconds. A reader leaves it as it is.

    A step's folder holds `state`, all leaves by path, and `meta`: format_version, step, and what
    the caller adds (config, mesh, data fingerprint).
    """

    def __init__(
        self,
        folder: Path,
        policy: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        write: bool = True,
    ):
        self.folder, self.policy, self._clock = folder, policy, clock
        self._saved_at = clock()
        self._manager = _manager(folder, policy, write)

    def latest(self) -> int | None:
        """The newest complete step."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """All complete steps, oldest first."""
        return sorted(self._manager.all_steps())

    def due(self, step: int) -> bool:
        """Whether the policy asks for a checkpoint after this step: by count or by time."""
        minutes = self.policy.minutes
        late = minutes is not None and self._clock() - self._saved_at >= 60 * minutes
        return step % self.policy.every == 0 or late

    def save(
        self, step: int, state: Any, meta: Mapping[str, Any], loss: float | None = None
    ) -> None:
        """Starts saving; the state may be given away on return. `loss` ranks it for keep_best.

        Raises CheckpointError when this or the previous save failed.
        """
        if step in self._manager.all_steps():
            return
        fault("checkpoint.begin")
        args = ocp.args.Composite(
            state=ocp.args.PyTreeSave(_nested(flatten(state))),
            meta=ocp.args.JsonSave({"format_version": FORMAT_VERSION, "step": step, **meta}),
        )
        with _explained(f"{self.folder}: step {step} could not be saved"):
            self._manager.check_for_errors()
            self._manager.save(step, args=args, metrics=None if loss is None else {"loss": loss})
        self._saved_at = self._clock()

    def wait(self) -> None:
        """Returns when the last save is complete. Raises CheckpointError when it failed."""
        with _explained(f"{self.folder}: the last checkpoint could not be saved"):
            self._manager.wait_until_finished()

    def collect(self) -> None:
        """Deletes what the policy does not keep and a kill may have left."""
        with _explained(f"{self.folder}: an old checkpoint could not be deleted"):
            self._manager.collect()

    def close(self) -> None:
        """Waits for the last save and frees the threads."""
        self.wait()
        self._manager.close()

    def meta(self, step: int) -> dict[str, Any]:
        """What was saved beside the state. Raises CheckpointError if it is newer or unreadable."""
        with _explained(self._unreadable(step, META)):
            meta = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
        version = meta[META]["format_version"]
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{self.folder / str(step)}: format_version {version} is newer than this version's "
                f"{FORMAT_VERSION}; upgrade jaxlin"
            )
        return meta[META]

    def restore(self, step: int, shapes: Any, shardings: Any) -> Any:
        """The state of a step, placed by `shardings`, whatever mesh it was saved from.

        `shapes`: the wanted state as shapes. Raises CheckpointError when leaves differ.
        """
        wanted = _abstract(shapes, shardings)
        refuse_differences(str(self.folder / str(step)), self.stored(step), wanted)
        return self._load(step, shapes, wanted, partial=False)

    def restore_part(self, step: int, shapes: dict[str, Any], shardings: dict[str, Any]) -> Any:
        """Only some fields of the state, such as {"params": ...}. Refuses as `restore` does."""
        wanted = _abstract(shapes, shardings)
        fields = tuple(f"{name}/" for name in shapes)
        stored = {p: x for p, x in self.stored(step).items() if p.startswith(fields)}
        refuse_differences(str(self.folder / str(step)), stored, wanted)
        return self._load(step, shapes, wanted, partial=True)

    def stored(self, step: int) -> dict[str, Any]:
        """Path -> shape and dtype of every stored leaf; paths start with the field of the state."""
        self.wait()
        with _explained(self._unreadable(step, STATE)):
            tree = self._manager.item_metadata(step)[STATE].tree
            return flatten_dict(tree, sep="/")

    def _load(self, step: int, shapes: Any, wanted: dict[str, Any], partial: bool) -> Any:
        item = _nested(wanted)
        restore = ocp.args.PyTreeRestore(
            item,
            restore_args=ocp.checkpoint_utils.construct_restore_args(item),
            partial_restore=partial,
        )
        with _explained(self._unreadable(step, STATE)):
            loaded = self._manager.restore(step, args=ocp.args.Composite(state=restore))[STATE]
        leaves: dict[str, Array] = flatten_dict(loaded, sep="/")
        return jax.tree.unflatten(jax.tree.structure(shapes), [leaves[path] for path in wanted])

    def _unreadable(self, step: int, item: str) -> str:
        older = [n for n in self.steps() if n < step]
        path = self.folder / str(step)
        hint = f"; without {path} the run goes on from step {older[-1]}" if older else ""
        return f"{path}: the checkpoint's {item} is unreadable{hint}"


def refuse_differences(where: str, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises CheckpointError with a table of all leaves whose presence, shape or dtype differs."""
    differing = [
        [path, _describe(stored.get(path)), _describe(wanted.get(path))]
        for path in sorted({*wanted, *stored})
        if _describe(stored.get(path)) != _describe(wanted.get(path))
    ]
    if differing:
        table = align([["leaf", "stored", "wanted"], *differing])
        raise CheckpointError(
            f"{where} belongs to another model or optimizer: {len(differing)} leaves differ from "
            "this config's. Resume it with its own config, or name a run of this model.\n" + table
        )


def _manager(folder: Path, policy: Checkpoint, write: bool) -> Manager:
    keep: list[Any] = [policies.LatestN(policy.keep)]
    if policy.keep_best:
        best = policies.BestN(
            get_metric_fn=lambda metrics: metrics["loss"],
            reverse=True,
            n=policy.keep_best,
            keep_checkpoints_without_metrics=False,
        )
        keep.append(best)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(keep),
        cleanup_tmp_directories=write,
        async_options=committing(),
        create=write,
    )
    handlers = {STATE: state_handler(), META: ocp.JsonCheckpointHandler()}
    with _explained(f"{folder}: no checkpoints can be kept here"):
        if write:
            folder.mkdir(parents=True, exist_ok=True)
        return Manager(folder.absolute(), options=options, item_handlers=handlers)


class _explained:
    """Turns whatever goes wrong inside into a CheckpointError that starts with `what`."""

    def __init__(self, what: str):
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, CheckpointError):
            raise CheckpointError(f"{self.what}: {error}") from error


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Plain nested dicts: what is stored does not depend on the classes of optimizer states."""
    return unflatten_dict(dict(leaves), sep="/")


def _abstract(shapes: Any, shardings: Any) -> dict[str, jax.ShapeDtypeStruct]:
    placed = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )
    return flatten(placed)


def _describe(leaf: Any) -> str:
    if leaf is None:
        return "-"
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
