"""The folders of steps on disk: which are whole, what is wrong with the others, out of the way."""

from __future__ import annotations

import json
import os
from pathlib import Path

from jaxlin.config.errors import CheckpointError

# What a step's folder holds; constants, since Orbax joins them to the path as given.
STATE, META, METRICS = "state", "meta", "metrics"
META_FILE, METRICS_FILE = "metadata", "metrics"


def numbered(folder: Path) -> list[int]:
    """Everything in `folder` that is named like a step, whole or not, oldest first."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def damage(folder: Path, step: int) -> str | None:
    """What a look at the folder of a step finds wrong with it; None: it is whole.

    Steps appear and disappear by renaming, so that no interrupted save or deletion leaves such a
    folder: something else was at work.
    """
    path = folder / str(step)
    try:
        inside(folder, str(step))
        if not path.is_dir():
            return f"{path} is damaged: it is no folder"
        missing = [name for name in (f"{META}/{META_FILE}", STATE) if not (path / name).exists()]
        if missing:
            return f"{path} is damaged: it has no {' and no '.join(missing)}"
        return _wrong_metrics(path / METRICS / METRICS_FILE)
    except CheckpointError as error:
        return str(error)


def whole(folder: Path) -> list[int]:
    """The complete steps, oldest first."""
    return [step for step in numbered(folder) if damage(folder, step) is None]


def set_aside(folder: Path, step: int) -> Path:
    """Renames the folder of a step, so that it is none any more and the step can be saved again."""
    path = folder / str(step)
    taken = [folder / f"damaged-{step}"]
    while os.path.lexists(taken[-1]):
        taken.append(folder / f"damaged-{step}-{len(taken) + 1}")
    try:
        return path.rename(taken[-1])
    except OSError as error:
        raise CheckpointError(
            f"{path}: damaged, and cannot be moved out of the way ({error}); move it yourself"
        ) from error


def inside(root: Path, name: str) -> Path:
    """root / name, with links followed. Raises CheckpointError if that is not below `root`."""
    path = root / name
    try:
        found = Path(os.path.realpath(path, strict=True))
    except OSError as error:
        raise CheckpointError(f"{path} is damaged: it leads nowhere ({error.strerror})") from error
    if not found.is_relative_to(root.resolve()):
        raise CheckpointError(f"{path} leads out of {root}, to {found}; nothing is read there")
    return found


def _wrong_metrics(path: Path) -> str | None:
    """Without metrics a step is whole; with unreadable ones Orbax does not open the folder."""
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return f"{path} is damaged: it cannot be read ({error})"
    return None
