"""Processes that answer one line of JSON with one line of JSON, and may die."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from typing import IO, Any


class Lost(Exception):
    """A worker did not answer; says why."""


class Worker:
    """A child process. It is started when first asked, and again after it died, `lives` in all."""

    def __init__(self, command: list[str], environment: dict[str, str], lives: int = 3):
        self.command, self.environment, self.lives = command, environment, lives
        self.process: subprocess.Popen[bytes] | None = None
        self.errors: IO[bytes] | None = None
        self.begun = b""

    def send(self, request: dict[str, Any]) -> None:
        """Raises Lost if no process is left to start."""
        if self.process is None:
            self._start()
        assert self.process and self.process.stdin
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._lost() from None

    def receive(self, deadline: float) -> dict[str, Any]:
        """The answer to what was sent; Lost at `deadline` (time.monotonic), or if it dies."""
        assert self.process and self.process.stdout
        while b"\n" not in self.begun:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.process.stdout], [], [], left)
            if not ready:
                self.stop()
                raise Lost("no answer in time")
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                raise self._lost()
            self.begun += part
        line, _, self.begun = self.begun.partition(b"\n")
        return json.loads(line)

    def stop(self) -> None:
        """Ends the process and its children."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            if pipe:
                with contextlib.suppress(BrokenPipeError):  # what it never read
                    pipe.close()
        self.process = None

    def _start(self) -> None:
        if self.lives == 0:
            raise Lost("died too often")
        self.lives -= 1
        self.begun = b""
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | self.environment,
            start_new_session=True,
        )

    def _lost(self) -> Lost:
        assert self.process and self.errors
        try:
            status = f"exit status {self.process.wait(timeout=5)}"
        except subprocess.TimeoutExpired:
            status = "closed its output"
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        self.stop()
        return Lost(f"died ({status}): {said[-1] if said else 'without a word'}")
