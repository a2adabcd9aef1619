"""Paths that users write, and names that are joined to a folder."""

from __future__ import annotations

import os
from pathlib import Path

from jaxlin.config.errors import ConfigError, JaxlinError
from jaxlin.config.plain import show


def user_path(text: str | Path, refuse: type[JaxlinError] = ConfigError) -> Path:
    """The path with `~` replaced; it may not exist yet. Raises `refuse` when it never can."""
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except RuntimeError:
        first = Path(text).parts[0]
        raise refuse(f"{text}: no home folder is known for {first}; write the whole path") from None
    except ValueError as error:
        raise refuse(f"{show(str(text))}: no file has such a name ({error})") from None
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise refuse(f"{show(str(text))}: {error.strerror}; check the path") from None
    return path


def inside(root: Path, name: str, refuse: type[JaxlinError]) -> Path:
    """The file root/name. Raises `refuse` when it is missing or a link leads out of the folder."""
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise refuse(f"{path}: a link out of the folder, which is not followed; copy the file")
    if not path.is_file():
        raise refuse(f"{path}: missing; {root} is not whole, restore it from where it was made")
    return path
