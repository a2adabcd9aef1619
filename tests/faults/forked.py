"""The command line in a process forked from one that has all libraries imported.

It is a process of its own, which signals end as any other; it only starts sooner than
`python -m jaxlin.cli.main`, which spends most of a tiny run on imports.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys


class Forked:
    """What of subprocess.Popen is needed, for `jaxlin ARGV` with output to a file."""

    def __init__(self, argv: list[str], environment: dict[str, str], log: str):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.faults.forked", "jaxlin.train.loop"])
        self._process = context.Process(target=_enter, args=(argv, environment, log))
        self._process.start()

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, limit: float) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        self._process.join(limit)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("jaxlin", limit)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Sends a signal unless it has ended."""
        if self.poll() is None and self._process.pid:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Ends it."""
        self.send_signal(signal.SIGKILL)


def _enter(argv: list[str], environment: dict[str, str], log: str) -> None:
    import jax

    from jaxlin.cli.main import main

    out = os.open(log, os.O_WRONLY | os.O_TRUNC | os.O_CREAT)
    for number in (1, 2):
        os.dup2(out, number)
    os.environ.clear()
    os.environ.update(environment)
    # JAX read these when it was imported; XLA reads its flags with the first use of a device.
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PLATFORMS"):
        jax.config.update(name.lower(), environment[name])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    sys.argv = ["jaxlin", *argv]
    sys.exit(main(argv))
