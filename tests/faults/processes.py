"""Runs of several processes, each forked with all libraries imported."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from jaxlin.launch.local import HOST, free_port
from jaxlin.train.faults import VARIABLE
from tests.faults.driver import CACHE, FLAGS, WORDS
from tests.faults.forked import Forked

LIMIT = 240.0  # seconds for anything here


class One(NamedTuple):
    """A process of a run."""

    process: Forked
    log: Path

    def said(self) -> str:
        """All that it printed."""
        return self.log.read_text()

    def end(self, limit: float = LIMIT) -> int:
        """Its exit code; minus the number of the signal that ended it."""
        try:
            return self.process.wait(limit)
        finally:
            self.process.kill()

    def wait_for(self, text: str) -> None:
        """Returns once it has printed this."""
        last = time.monotonic() + LIMIT
        while text not in self.said():
            assert self.process.poll() is None and time.monotonic() < last, self.said()
            time.sleep(0.02)


def environment(devices: int, fault: str | None = None) -> dict[str, str]:
    """Of a process with so many devices."""
    found = {**os.environ} | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    found.pop(VARIABLE, None)
    return found if fault is None else {**found, VARIABLE: fault}


def start(
    run: Path,
    count: int,
    *,
    devices: int = 1,
    faults: dict[int, str] | None = None,
    words: dict[int, list[str]] | None = None,
    expected: int | None = None,
    late: float = 0.0,
    saving: bool = True,
) -> list[One]:
    """The same command in `count` processes, but for the faults and words of some. `expected`: the
    number that they are told. `late`: seconds after which the last one starts. Without
    `saving` no checkpoint is saved before the last step."""
    port, found = free_port(), []
    base = [w for w in WORDS if saving or not w.startswith("checkpoint.every")]
    for index in range(count):
        argv = ["train", *base, *(words or {}).get(index, []), "--run", str(run)]
        if count > 1 or expected:
            argv += ["--coordinator", f"{HOST}:{port}", "--processes", str(expected or count)]
            argv += ["--process-id", str(index), "--join-timeout", "5" if expected else "120"]
        time.sleep(late if index == count - 1 else 0)
        log = run.with_name(f"{run.name}.{index}.log")
        log.write_text("")
        env = environment(devices, (faults or {}).get(index))
        found.append(One(Forked(argv, env, str(log)), log))
    return found


def end(group: list[One], limit: float = LIMIT) -> list[int]:
    """Their exit codes; none of them is left."""
    last = time.monotonic() + limit
    try:
        return [one.process.wait(max(0.1, last - time.monotonic())) for one in group]
    finally:
        for one in group:
            one.process.kill()
