"""What every refusal has in common, and files that would do harm if they were believed."""

import pickle
import signal
from contextlib import contextmanager
from pathlib import Path

from jaxlin.cli.main import main
from tests.cli.tiny import TINY as TINY


def listing(folder: Path) -> dict[str, bytes | str]:
    """Relative path -> content of every file, target of every link, 'folder' or 'other'."""
    return {str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*"))}


def _content(path: Path) -> bytes | str:
    if path.is_symlink():
        return str(path.readlink())
    if path.is_file():
        return path.read_bytes()
    return "folder" if path.is_dir() else "other"


def refused(capsys, words, code, *parts, root=None, seconds=60) -> str:
    """Runs a command that has to end with `code` and one paragraph that has all `parts` in it.

    Nothing below `root` may change, and it must be over after `seconds`. Returns the paragraph.
    """
    before = listing(root) if root else None
    with at_most(seconds):
        found = main([str(word) for word in words])
    said = capsys.readouterr().err
    paragraph = said[said.index("jaxlin: error: ") :] if "jaxlin: error: " in said else said
    assert found == code, said
    assert paragraph.startswith("jaxlin: error: "), said
    assert "\n\n" not in paragraph and "Traceback" not in said and "internal error" not in said
    for part in parts:
        assert part in paragraph, f"{part!r} is not in: {paragraph}"
    assert root is None or listing(root) == before
    return paragraph


@contextmanager
def at_most(seconds: int):
    """Ends what hangs by an error."""

    def fail(*_):
        raise TimeoutError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, marker: Path):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def pickle_bomb(marker: Path) -> bytes:
    """Bytes that create `marker` when they are unpickled, which is tried once to be sure."""
    content = pickle.dumps(Bomb(marker))
    pickle.loads(content).close()
    assert marker.exists()
    marker.unlink()
    return content
