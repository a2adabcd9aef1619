"""Checkpoints of a run: saved in the background, restored exactly or refused with a reason."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array
from orbax.checkpoint import checkpoint_managers as policies

from jaxlin.config.errors import CheckpointError
from jaxlin.config.run import Checkpoint
from jaxlin.parallel import peers, processes
from jaxlin.parallel.paths import flatten
from jaxlin.parallel.table import nbytes
from jaxlin.train import steps
from jaxlin.train.damage import (
    Damaged,
    explained,
    read_or_name,
    refuse_other_bits,
    refuse_other_leaves,
)
from jaxlin.train.differences import refuse_differences, younger
from jaxlin.train.digest import digests
from jaxlin.train.faults import fault
from jaxlin.train.manager import Manager, committing, state_handler
from jaxlin.train.steps import META, STATE

FORMAT_VERSION = 2
DIGESTS, SEAL = "digests", "sha256"  # since format 2
# Steps that the policy keeps no longer are renamed into this folder, then deleted.
TRASH = "deleting"
ASKED = 10  # steps between two looks at the first process's clock
SPARE = 1.2  # free space that a save must find, as a multiple of the state's size


class Checkpoints:
    """The folder `checkpoints` of a run. `clock` gives seconds. A reader leaves it as it is.

    A step's folder holds `state`, all leaves by path, and `meta`: format_version, step, the digest
    of every leaf, what the caller adds (config, mesh, data fingerprint), and a digest of all that.
    `say` gets what is worth a line, `free` the free bytes at a path.
    """

    def __init__(
        self,
        folder: Path,
        policy: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        write: bool = True,
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ):
        self.folder, self.policy, self._clock = folder, policy, clock
        self._say, self._free, self._write = say, free, write
        self._saved_at = clock()
        self._saving = self._told = False
        if write:
            self._clear()
        self._manager = _manager(folder, policy, write)

    def latest(self) -> int | None:
        """The newest complete step."""
        return max(self.steps(), default=None)

    def steps(self) -> list[int]:
        """All complete steps, oldest first, once the last save is one of them; what a step holds
        shows when it is restored."""
        if self._saving:
            self.wait()
        return steps.whole(self.folder)

    def due(self, step: int) -> bool:
        """Whether the policy asks for a checkpoint after this step: by count or by time.

        Clocks of several processes differ: the first one's counts, and is asked every ASKED steps.
        """
        if step % self.policy.every == 0:
            return True
        if self.policy.minutes is None:
            return False
        if jax.process_count() == 1:
            return self._late(self.policy.minutes)
        if step % ASKED:
            return False
        late = partial(self._late, self.policy.minutes)
        return processes.first_says("late", lambda: str(late())) == "True"

    def save(
        self, step: int, state: Any, meta: Mapping[str, Any], loss: float | None = None
    ) -> None:
        """Starts saving; the state may be given away on return. `loss` ranks it for keep_best.

        Raises CheckpointError when this or the previous save failed, or the disk is too full.
        """
        if step in self._manager.all_steps():
            return
        self._refuse_removed()
        self.wait()
        leaves = flatten(state)
        self._refuse_full_disk(step, nbytes(leaves.values()))
        about = {"format_version": FORMAT_VERSION, "step": step, DIGESTS: digests(leaves), **meta}
        fault("checkpoint.begin")
        args = ocp.args.Composite(
            state=ocp.args.PyTreeSave(_nested(leaves)),
            meta=ocp.args.JsonSave({**about, SEAL: _seal(about)}),
        )
        with explained(f"{self.folder}: step {step} could not be saved"):
            self._manager.save(step, args=args, metrics=None if loss is None else {"loss": loss})
        self._saving, self._saved_at = True, self._clock()

    def check(self) -> None:
        """Cheap, for every step. Raises CheckpointError when the save in the background failed, or
        the folder is gone."""
        self._refuse_removed()
        if self._saving and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Returns when the last save is complete. Raises CheckpointError when it failed."""
        with explained(f"{self.folder}: the last step could not be saved, earlier ones are kept"):
            self._manager.wait_until_finished()
        if self._saving:
            self._saving = False
            self._empty_trash()

    def drop_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps: the run takes another way from `step` on."""
        later_ones = [n for n in self.steps() if n > step]
        processes.meet("later steps listed")
        with explained(f"{self.folder}: a checkpoint after step {step} could not be deleted"):
            for later in later_ones:
                self._manager.delete(later)

    def collect(self) -> None:
        """Deletes what the policy does not keep and a kill may have left."""
        with explained(f"{self.folder}: an old checkpoint could not be deleted"):
            self._manager.collect()
        self._empty_trash()

    def close(self) -> None:
        """Waits for the last save and frees the threads."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Closes. A save that failed is the error, or a line if there is an error already."""
        if peers.lost_peer(error):
            return  # the last save waits for a process that is gone
        try:
            self.close()
        except CheckpointError as late:
            if error is None:
                raise
            self._say(str(late))

    def meta(self, step: int) -> dict[str, Any]:
        """What was saved beside the state. Raises CheckpointError if it is newer or unreadable."""
        self.wait()
        wrong = steps.damage(self.folder, step)
        if wrong:
            raise Damaged(wrong)
        with explained(_unreadable(self._path(step, META)), Damaged):
            args = ocp.args.Composite(meta=ocp.args.JsonRestore())
            meta = dict(self._manager.restore(step, args=args)[META])
            version = int(meta["format_version"])
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{self._path(step)}: format_version {version} is newer than this version's "
                f"{FORMAT_VERSION}; upgrade jaxlin"
            )
        return self._unsealed(step, version, meta)

    def restore(
        self,
        step: int,
        shapes: Any,
        shardings: Any,
        *,
        cast: bool = False,
        fresh: Callable[[list[str]], dict[str, Array]] | None = None,
    ) -> Any:
        """The state of a step, bit by bit, placed by `shardings`, whatever mesh it was saved from.

        `shapes`: the wanted state as shapes. `cast`: float32 may become bfloat16 and back. `fresh`
        gives leaves by path that are younger than the checkpoint's format. Raises Damaged when it
        is not what was saved, CheckpointError with a table when leaves differ from those wanted.
        """
        meta, wanted = self.meta(step), _abstract(shapes, shardings)
        stored = self._stored_or_named(step, wanted)
        missing = younger(meta["format_version"], stored, wanted) if fresh else []
        old = {path: leaf for path, leaf in wanted.items() if path not in missing}
        refuse_differences(str(self._path(step)), stored, old, cast)
        leaves = self._load(step, meta, stored, old)
        if fresh and missing:
            leaves |= fresh(missing)
        return _like(shapes, leaves, wanted)

    def restore_part(self, step: int, shapes: dict[str, Any], shardings: dict[str, Any]) -> Any:
        """Only some fields of the state, such as {"params": ...}. Refuses as `restore` does."""
        wanted = _abstract(shapes, shardings)
        fields = tuple(f"{name}/" for name in shapes)
        meta, stored = self.meta(step), self._stored_or_named(step, wanted)
        stored = {path: leaf for path, leaf in stored.items() if path.startswith(fields)}
        refuse_differences(str(self._path(step)), stored, wanted)
        return _like(shapes, self._load(step, meta, stored, wanted), wanted)

    def stored(self, step: int) -> dict[str, Any]:
        """Path -> shape and dtype of every stored leaf; paths start with the field of the state."""
        meta = self.meta(step)
        with explained(_unreadable(self._path(step, STATE)), Damaged):
            listed = self._manager.item_metadata(step)[STATE]
            if listed is None:
                raise ValueError("the list of its leaves is missing")
            found = flatten_dict(listed.tree, sep="/")
        if DIGESTS in meta:
            refuse_other_leaves(self._path(step, STATE), found, meta[DIGESTS])
        return found

    def set_aside(self, step: int, why: str) -> None:
        """Renames a damaged step, so that it can be saved anew. `why` goes to the user."""
        if jax.process_index() == 0:
            moved = steps.set_aside(self.folder, step)
            self._say(f"{why}; it lies in {moved} now, delete it when you have looked at it")

    def _late(self, minutes: float) -> bool:
        return self._clock() - self._saved_at >= 60 * minutes

    def _path(self, step: int, item: str = "") -> Path:
        return self.folder / str(step) / item

    def _clear(self) -> None:
        """Nothing that is no step any more stands in the way of the run."""
        for step in steps.numbered(self.folder):
            wrong = steps.damage(self.folder, step)
            if wrong:
                self.set_aside(step, wrong)
        self._empty_trash()
        processes.meet("checkpoints cleared")

    def _empty_trash(self) -> None:
        if self._write and jax.process_index() == 0:
            shutil.rmtree(self.folder / TRASH, ignore_errors=True)

    def _refuse_removed(self) -> None:
        if not self.folder.is_dir():
            raise CheckpointError(
                f"{self.folder}: the folder was removed while the run was writing to it; the run "
                "ends, since nothing that it does could be kept"
            )

    def _refuse_full_disk(self, step: int, size: int) -> None:
        with explained(f"{self.folder}: step {step} could not be saved"):
            free = self._free(self.folder)
        if free < SPARE * size:
            raise CheckpointError(
                f"{self.folder}: step {step} was not saved: the state has {size:,} bytes, so that "
                f"{SPARE} times as many, {int(SPARE * size):,}, should be free, but only {free:,} "
                "are. Earlier steps are kept. Make room, or lower checkpoint.keep, and start again"
            )

    def _unsealed(self, step: int, version: int, meta: dict[str, Any]) -> dict[str, Any]:
        """The meta without its own digest. A checkpoint of format 1 has none."""
        if version == 1 and SEAL not in meta:
            if not self._told:
                self._say(f"step {step} has format 1, without digests: it is not verified")
            self._told = True
            return meta
        about = {key: value for key, value in meta.items() if key != SEAL}
        if meta.get(SEAL) != _seal(about):
            raise Damaged(f"{self._path(step, META)} is damaged: it is not what was saved")
        return about

    def _stored_or_named(self, step: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """What is stored; where that cannot be read, Damaged names a leaf if one is the reason."""
        try:
            return self.stored(step)
        except Damaged:
            what = _unreadable(self._path(step, STATE))
            read_or_name(lambda some: self._read(step, some), wanted, what)
            raise

    def _load(
        self, step: int, meta: dict[str, Any], stored: dict[str, Any], wanted: dict[str, Any]
    ) -> dict[str, Array]:
        """The wanted leaves, read in their stored dtype, verified, and cast where that differs."""
        as_stored = {
            path: jax.ShapeDtypeStruct(leaf.shape, stored[path].dtype, sharding=leaf.sharding)
            for path, leaf in wanted.items()
        }
        where = self._path(step, STATE)
        with processes.together("leaves read", Damaged):  # each process reads its own parts
            leaves = read_or_name(
                lambda some: self._read(step, some), as_stored, _unreadable(where)
            )
        if DIGESTS in meta:
            refuse_other_bits(where, leaves, meta[DIGESTS])
        return _cast(leaves, wanted)

    def _read(self, step: int, wanted: dict[str, Any]) -> dict[str, Array]:
        item = _nested(wanted)
        restore = ocp.args.PyTreeRestore(
            item,
            restore_args=ocp.checkpoint_utils.construct_restore_args(item),
            partial_restore=True,
        )
        # Past the manager, in which all processes would wait for one that cannot read its part.
        where: Any = self._path(step, STATE).absolute()
        loaded = state_handler().restore(where, args=restore)
        leaves: dict[str, Any] = flatten_dict(loaded, sep="/")
        return {path: leaves[path] for path in wanted}


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
        todelete_subdir=TRASH,  # by renaming: a step is there as a whole or not at all
        lightweight_initialize=not write,  # a reader ranks nothing
    )
    handlers = {STATE: state_handler(), META: ocp.JsonCheckpointHandler()}
    with explained(f"{folder}: no checkpoints can be kept here"):
        if write:
            folder.mkdir(parents=True, exist_ok=True)
        return Manager(folder.absolute(), options=options, item_handlers=handlers)


def _unreadable(where: Path) -> str:
    return f"{where} is damaged: it cannot be read"


def _seal(meta: Mapping[str, Any]) -> str:
    """SHA-256 of the meta, so that a changed byte in it shows as one in a leaf does."""
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _cast(leaves: dict[str, Array], wanted: Mapping[str, Any]) -> dict[str, Array]:
    return {
        path: leaf if leaf.dtype == wanted[path].dtype else leaf.astype(wanted[path].dtype)
        for path, leaf in leaves.items()
    }


def _like(shapes: Any, leaves: Mapping[str, Array], order: Iterable[str]) -> Any:
    return jax.tree.unflatten(jax.tree.structure(shapes), [leaves[path] for path in order])


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Plain nested dicts: what is stored does not depend on the classes of optimizer states."""
    return unflatten_dict(dict(leaves), sep="/")


def _abstract(shapes: Any, shardings: Any) -> dict[str, jax.ShapeDtypeStruct]:
    placed = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )
    return flatten(placed)
