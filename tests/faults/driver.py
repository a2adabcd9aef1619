"""Runs a tiny training as a child process, ends it before its time, and compares what it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxlin.config.run import Checkpoint
from jaxlin.parallel.paths import flatten
from jaxlin.train import records
from jaxlin.train.checkpoint import STATE, Checkpoints
from jaxlin.train.faults import VARIABLE
from tests.faults.forked import Forked

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".cache" / "faults"  # of compiled code, shared by all children
STEPS, EVERY = 30, 3
WORDS = (
    "tiny",
    f"steps={STEPS}",
    "ema=0.9",
    "model.layers=1",
    "model.pattern=full",
    "model.width=16",
    "data.max_bytes=60_000",
    "data.held_out=0.3",
    "eval.batches=1",
    f"eval.every={EVERY}",
    f"checkpoint.every={EVERY}",
    "checkpoint.keep=1",
)
ONCE = ("start", "compile", "compiled", "end")  # points that a process comes to only once
# XLA does as little as possible: the same everywhere, and quick.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# Files that two runs of one command have alike to the last byte.
ALIKE = ("config.json", "data.json", "parameters.json", "parameters.txt")
TIMES = ("seconds_per_step", "tokens_per_second", "input_wait_share")


class Child:
    """`jaxlin train` in a process of its own. `fault`: value of JAXLIN_FAULT."""

    def __init__(
        self, run: Path, fault: str | None = None, cache: Path = CACHE, forked: bool = True
    ):
        self.run, self._log = run, run.with_name(run.name + ".stderr")
        self._log.write_text("")
        argv, environment = ["train", *WORDS, "--run", str(run)], _environment(fault, cache)
        if forked:
            self.process = Forked(argv, environment, str(self._log))
            return
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jaxlin.cli.main", *argv],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        """All that it printed."""
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Returns once it has printed this."""
        self._until(lambda: text in self.said(), f"it does not say {text!r}")

    def wait_for_file(self, pattern: str) -> None:
        """Returns once its folder holds such a file."""
        self._until(lambda: any(self.run.glob(pattern)), f"there is no {pattern}")

    def end(self, limit: float = 900.0) -> int:
        """Its exit code; minus the number of the signal that ended it."""
        try:
            return self.process.wait(limit)
        finally:
            if self.process.poll() is None:
                self.process.kill()

    def phase(self) -> str:
        """What it is doing, as far as one can see from outside."""
        if any(self.run.glob(f"{records.CHECKPOINTS}/*tmp*")):
            return "saving"
        said = self.said()
        if "\nstep " in said:
            return "training"
        return "compiling" if "compiling" in said else "starting"

    def _until(self, true, what: str, limit: float = 900.0) -> None:
        last = time.monotonic() + limit
        while not true():
            if self.process.poll() is not None or time.monotonic() > last:
                self.process.kill()
                raise AssertionError(f"{what}:\n{self.said()}")
            time.sleep(0.005)


class Blow(NamedTuple):
    """One way to end a run: at a point, or some seconds after it says where it starts."""

    action: str = "kill"  # or term
    point: str | None = None
    count: int = 1
    delay: float = 0.0


def strike(run: Path, blow: Blow, cache: Path = CACHE) -> tuple[int, str]:
    """Exit code of a child that is struck, and what it was at. It may be done before (code 0)."""
    if blow.point is not None:
        child = Child(run, f"{blow.point}:{blow.action}@{blow.count}", cache)
        return child.end(), blow.point
    child = Child(run, cache=cache)
    child.wait_for("\nstart ")
    time.sleep(blow.delay)
    phase = child.phase()
    child.process.send_signal(signal.SIGKILL if blow.action == "kill" else signal.SIGTERM)
    return child.end(), phase


def random_blow(random: np.random.Generator, points: tuple[str, ...], seconds: float) -> Blow:
    """At a point or at a time, in halves; every fifth one is a SIGTERM."""
    action = "term" if random.random() < 0.2 else "kill"
    if random.random() < 0.5:
        return Blow(action, delay=seconds * random.random())
    point, count = str(random.choice(points)), int(random.integers(1, 5))
    return Blow(action, point, 1 if point in ONCE else count)


def struck(code: int, action: str) -> bool:
    """Whether the child ended as the blow asks; False: it was done before. Else an error."""
    allowed = {"kill": (-signal.SIGKILL,), "term": (75, -signal.SIGTERM)}[action]
    assert code in (0, *allowed), f"exit code {code} after {action}"
    return code != 0


class Result(NamedTuple):
    """What an interrupted run must leave as an uninterrupted one does."""

    steps: list[int]  # of its checkpoints
    state: dict[str, np.ndarray]  # of the last one
    records: dict[tuple[str, int], dict]
    files: dict[str, bytes]
    names: list[str]  # of all else in the run directory and among the checkpoints


def finish(run: Path, cache: Path = CACHE) -> Result:
    """Lets the same command end the run."""
    child = Child(run, cache=cache)
    assert child.end() == 0, child.said()
    return result(run)


def result(run: Path) -> Result:
    """Reads a finished run."""
    folder, steps = run / records.CHECKPOINTS, complete(run)
    # What goodput records is time alone.
    found = [r for r in records.read_metrics(run) if r["kind"] != "goodput"]
    keyed = {(r["kind"], r["step"]): _untimed(r) for r in found}
    assert len(keyed) == len(found), "a step is read twice"
    others = {*run.iterdir(), *folder.iterdir()} - {folder / str(step) for step in steps}
    # Without the history of the ends before: crash.json, and one of each further process.
    names = [str(path.relative_to(run)) for path in others if not path.match("crash*.json")]
    return Result(
        steps,
        state(run, steps[-1]),
        keyed,
        {name: (run / name).read_bytes() for name in ALIKE},
        sorted(names),
    )


def complete(run: Path) -> list[int]:
    """Steps of the complete checkpoints."""
    return Checkpoints(run / records.CHECKPOINTS, Checkpoint(), write=False).steps()


def state(run: Path, step: int) -> dict[str, np.ndarray]:
    """Path -> array of everything in the state of a checkpoint, read past all of our own code."""
    folder = run / records.CHECKPOINTS / str(step) / STATE
    handler = ocp.PyTreeCheckpointHandler()
    plain = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(folder).tree
    )
    return flatten(handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=plain)))


def differences(run: Result, whole: Result, told: bool = False) -> list[str]:
    """What an interrupted run lost or changed; [] if nothing.

    A run that was told to stop saved where the others do not: of its checkpoints the last is
    compared, and their number with what the policy keeps at most (the latest and the best).
    """
    wrong = [
        f"{what}: {ours} instead of {theirs}"
        for what, ours, theirs in (
            ("checkpoints", run.steps[-1:] if told else run.steps, whole.steps),
            ("too many checkpoints", told and len(run.steps) > 2, False),
            ("files", run.names, whole.names),
            ("leaves", list(run.state), list(whole.state)),
        )
        if ours != theirs
    ]
    wrong += [f"{name} differs" for name in ALIKE if run.files[name] != whole.files[name]]
    wrong += [
        f"leaf {p} differs" for p in whole.state if not _same(run.state.get(p), whole.state[p])
    ]
    wrong += [
        f"record {key}: {run.records.get(key)} instead of {whole.records.get(key)}"
        for key in {**whole.records, **run.records}
        if run.records.get(key) != whole.records.get(key)
    ]
    return wrong


def _same(a: np.ndarray | None, b: np.ndarray) -> bool:
    """Bitwise, so that NaN equals itself and 0 is not -0."""
    return a is not None and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def _untimed(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in TIMES}


def _environment(fault: str | None, cache: Path) -> dict[str, str]:
    found = {**os.environ} | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": FLAGS,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    found.pop(VARIABLE, None)
    return found if fault is None else {**found, VARIABLE: fault}


def torn(run: Path) -> bool:
    """Whether metrics.jsonl ends within a line."""
    last = (run / records.METRICS).read_text().splitlines()[-1]
    try:
        json.loads(last)
    except json.JSONDecodeError:
        return True
    return False


def timed(run: Path) -> tuple[Result, float]:
    """An uninterrupted run, and its seconds from the moment it says where it starts."""
    child = Child(run)
    child.wait_for("\nstart ")
    begin = time.monotonic()
    assert child.end() == 0, child.said()
    return result(run), time.monotonic() - begin
