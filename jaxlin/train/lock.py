"""run.lock: one writer a run directory. Whoever finds it learns who writes there, and if it lives.

A writer that died on this host is replaced without asking. Whether one on another host is dead
cannot be seen from here: it takes missed heartbeats and the user's word (`--takeover`).
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from jaxlin.config.errors import CheckpointError
from jaxlin.train.records import write_text
from jaxlin.train.writer import MISSED, Writer, dead, read, this_process

LOCK = "run.lock"
PATIENCE = 2.0  # seconds in which a writer signs the file that it has created


class Lock:
    """Holds run.lock while it is open, and renews its heartbeat from a thread.

    `held=False` does nothing: of a run with several processes only the first one writes. Opening
    raises CheckpointError when another process holds it or the folder cannot be written; folders
    that it makes go again if nothing comes into them.
    """

    def __init__(
        self,
        run: Path,
        takeover: bool = False,
        *,
        interval: float = 30.0,
        clock: Callable[[], float] = time.time,
        held: bool = True,
    ):
        self.run, self.path = run, run / LOCK
        self._takeover, self._interval, self._clock, self._held = takeover, interval, clock, held
        self._made: list[Path] = []
        self._over, self._beating = threading.Event(), threading.Lock()
        self._lost = False

    def __enter__(self) -> Lock:
        if not self._held:
            return self
        self._me = this_process(self._clock(), self._interval)
        try:
            self._made = [path for path in (self.run, *self.run.parents) if not path.exists()]
            self.run.mkdir(parents=True, exist_ok=True)
            with _alone(self.run):
                self._take()
        except OSError as error:
            raise CheckpointError(
                f"{self.run}: the run directory cannot be written: {error}"
            ) from error
        self._thread = threading.Thread(target=self._beat_on, name=LOCK, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._held:
            return
        self._over.set()
        self._thread.join()
        with suppress(OSError), _alone(self.run):
            if self._mine():
                self.path.unlink()
        with suppress(OSError):  # the first folder that is not empty ends it
            for path in self._made:
                path.rmdir()

    def check(self) -> None:
        """Cheap, for every step. Raises CheckpointError when the lock is not ours any more."""
        if not self._held:
            return
        if self._clock() - self._me.heartbeat > 2 * self._interval:
            self.beat()  # this process was stopped for a while; was it taken for dead?
        if self._lost:
            raise CheckpointError(
                f"{self.path} was removed or taken over by another process, so that this one "
                "writes no more; what it has saved is kept"
            )

    def beat(self) -> None:
        """Renews the heartbeat, or notices that the lock is lost."""
        # When the file cannot be read or written now (a full disk), the next beat tries again.
        with self._beating, suppress(OSError):
            if not self._mine():
                self._lost = True
                return
            now = replace(self._me, heartbeat=self._clock())
            write_text(self.path, now.text())
            self._me = now

    def _beat_on(self) -> None:
        while not self._lost and not self._over.wait(self._interval):
            self.beat()

    def _mine(self) -> bool:
        found = read(self.path)
        return found is not None and found.token == self._me.token

    def _take(self) -> None:
        """Creates the file, in place of that of a dead writer."""
        if os.path.lexists(self.path):
            found = _patient_read(self.path)
            silence = self._clock() - (found.heartbeat if found else self.path.lstat().st_mtime)
            gone = dead(found, silence) if found else _empty(self.path)
            if not gone:
                self._refuse(found, silence)
            self.path.unlink()
        create(self.path, self._me.text())

    def _refuse(self, found: Writer | None, silence: float) -> None:
        """Returns only if the writer was silent for long enough and the user wants its place."""
        limit = MISSED * (found.interval if found else self._interval)
        if silence > limit and self._takeover:
            return
        who = f"is held by {found}" if found else "is no lock of a jaxlin process"
        what = (
            "whether it is dead cannot be seen from here. If it is, add --takeover"
            if silence > limit
            else "two processes would mix their steps. Wait for it, stop it, or name another run "
            f"directory; --takeover is possible after {limit:.0f} s of silence"
        )
        raise CheckpointError(
            f"{self.path} {who}, last sign of life {max(silence, 0):.0f} s ago; {what}"
        )


def create(path: Path, text: str) -> None:
    """Writes a new file; of several processes one succeeds. Raises FileExistsError."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _patient_read(path: Path) -> Writer | None:
    """A file that stays empty belongs to a process that was killed before it signed."""
    end = time.monotonic() + PATIENCE
    while (found := read(path)) is None and _empty(path) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _empty(path: Path) -> bool:
    return path.exists() and path.stat().st_size == 0


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps the processes of this host from looking and replacing at the same time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have none; O_EXCL still decides
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
