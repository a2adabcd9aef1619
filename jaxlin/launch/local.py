"""N processes on this host that train together, as the hosts of a pod would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from jaxlin.config.errors import ConfigError, PreemptedError

HOST = "127.0.0.1"
GRACE = 10.0  # seconds that the others have when one has failed
LEAVING = 60.0  # and when one has ended well or was told to stop: they are about to
TOLD = PreemptedError.exit_code


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def refuse_taken(port: int) -> None:
    """Raises ConfigError if the port cannot be listened on."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--port: {port} cannot be used ({reason}); leave --port away and a free one is taken"
        ) from error


def commands(words: Sequence[str], count: int, port: int) -> list[list[str]]:
    """The command of each process that runs `jaxlin WORDS` as one of `count`."""
    jaxlin = [sys.executable, "-m", "jaxlin.cli._child", str(os.getpid()), *words]
    group = ["--coordinator", f"{HOST}:{port}", "--processes", str(count), "--process-id"]
    return [[*jaxlin, *group, str(index)] for index in range(count)]


def environment(devices: int) -> dict[str, str]:
    """That of a process with so many CPU devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags.strip()}


def run(
    commands: Sequence[Sequence[str]],
    env: dict[str, str],
    say: Callable[[str], None],
    grace: float = GRACE,
    leaving: float = LEAVING,
) -> int:
    """Runs the commands side by side until all have ended; the worst of their exit codes.

    Their lines come out with the number of the process in front. SIGTERM and Ctrl-C are passed on
    as SIGTERM, upon which all save and end; a second one kills. When one fails, the others have
    `grace` seconds to end by themselves.
    """
    group = _Processes(commands, env, say)
    try:
        with group.signals():
            group.wait(grace, leaving)
    finally:
        group.kill()
        group.close()
    return worst([code for code in group.codes() if code is not None], group.told > 0)


def worst(codes: Sequence[int], told: bool) -> int:
    """Of the exit codes (-N: ended by signal N) the one that says most: an error of its own before
    an end by a signal, that before 75, that before 0.

    A process that was `told` to stop before it could listen has nothing to save: 75.
    """
    shell = [TOLD if told and c == -signal.SIGTERM else 128 - c if c < 0 else c for c in codes]
    return max(shell, key=lambda code: (code != 0, code != TOLD, code < 128, code), default=0)


class _Processes:
    """The running commands. `told`: how many signals they were sent."""

    def __init__(
        self, commands: Sequence[Sequence[str]], env: dict[str, str], say: Callable[[str], None]
    ):
        self.told, self._say = 0, say
        self._printing = threading.Lock()
        self._all: list[subprocess.Popen[bytes]] = []
        self._readers: list[threading.Thread] = []
        try:
            for command in commands:
                self._start(command, env)
        except BaseException:
            self.kill()
            raise

    def codes(self) -> list[int | None]:
        """Exit codes so far; None while it runs."""
        return [process.poll() for process in self._all]

    def wait(self, grace: float, leaving: float) -> None:
        """Returns when all have ended, or the time of those that are left is over."""
        end: float | None = None
        failed = False
        while None in (codes := self.codes()):
            ended = {i: code for i, code in enumerate(codes) if code is not None}
            bad = {i: code for i, code in ended.items() if code not in (0, TOLD)}
            if bad and not failed:
                failed, end = True, time.monotonic() + grace
                self._say(f"{_ends(bad)}; the others have {grace:.0f} s to end")
            elif ended and end is None:
                end = time.monotonic() + leaving
            if end is not None and time.monotonic() > end:
                left = [i for i, code in enumerate(codes) if code is None]
                self._say(f"process {', '.join(map(str, left))} did not end and is killed")
                return
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends all that still run."""
        for process in self._all:
            if process.poll() is None:
                process.kill()
            process.wait()

    def close(self) -> None:
        """Returns when all that they said is printed."""
        for reader in self._readers:
            reader.join(5)

    @contextmanager
    def signals(self):
        """SIGTERM and SIGINT of this process go to the others while this is open."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._pass_on) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, frame: Any) -> None:
        self.told += 1
        for process in self._all:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM if self.told == 1 else signal.SIGKILL)

    def _start(self, command: Sequence[str], env: dict[str, str]) -> None:
        index = len(self._all)
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches them through this process only
        )
        self._all.append(process)
        for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            assert source is not None
            reader = threading.Thread(target=self._copy, args=(index, source, target), daemon=True)
            reader.start()
            self._readers.append(reader)

    def _copy(self, index: int, source: IO[bytes], target: IO[str]) -> None:
        with source:
            for line in source:
                text = line.decode(errors="replace").rstrip("\n")
                with self._printing, suppress(OSError, ValueError):  # nobody reads it any more
                    print(f"[{index}] {text}", file=target, flush=True)


def _ends(codes: dict[int, int]) -> str:
    return ", ".join(f"process {index} {_end(code)}" for index, code in codes.items())


def _end(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
