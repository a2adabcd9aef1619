"""Ends short runs at random points and times, starts them again, and counts what is lost.

    python scripts/kills.py --kills 200 --seed 0

Every run is struck several times, ended by the same command, and compared with an uninterrupted
one: last state bitwise, records, files. Exit code 1 if anything differs; its run is kept then.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))  # for tests.faults

from jaxlin.parallel.table import align
from jaxlin.train.faults import POINTS
from jaxlin.train.progress import Progress, duration
from tests.faults import driver

COLD = 0.1  # share of the runs that compile everything anew


class Tally(NamedTuple):
    """What has happened so far: (phase, action) -> count, and what was lost."""

    ended: Counter[tuple[str, str]]
    lost: list[str]

    def kills(self) -> int:
        """How often a run was ended."""
        return self.ended.total()


def storm(
    run: Path,
    random: np.random.Generator,
    whole: driver.Result,
    seconds: float,
    tally: Tally,
    left: int,
) -> None:
    """One run, ended up to eight times, then let to its end and compared."""
    cache = driver.CACHE if random.random() >= COLD else run.with_name(f"{run.name}.cache")
    told = False
    for _ in range(min(left, int(random.integers(3, 9)))):
        blow = driver.random_blow(random, tuple(POINTS), seconds)
        code, phase = driver.strike(run, blow, cache)
        if not driver.struck(code, blow.action):  # it was done before
            break
        told |= code == 75
        tally.ended[phase, blow.action] += 1
    else:
        driver.finish(run, cache)
    tally.lost.extend(driver.differences(driver.result(run), whole, told))


def table(tally: Tally) -> str:
    """Counts by what the process was at."""
    order = [*POINTS, "starting", "compiling", "training", "saving"]
    rows = [["ended at", "SIGKILL", "SIGTERM"]]
    for phase in order:
        counts = [tally.ended[phase, action] for action in ("kill", "term")]
        name = phase if phase in POINTS else f"any time, {phase}"
        rows.append([name, *map(str, counts)] if any(counts) else [])
    sums = [
        sum(n for (_, a), n in tally.ended.items() if a == action) for action in ("kill", "term")
    ]
    return align([*filter(None, rows), ["all", *map(str, sums)]])


def main() -> int:
    """Runs until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    asked = parser.parse_args()
    folder, random = Path(tempfile.mkdtemp(prefix="kills-")), np.random.default_rng(asked.seed)
    tally, progress, begin, runs = Tally(Counter(), []), Progress(asked.kills), time.monotonic(), 0
    driver.finish(folder / "first")  # fills the cache of compiled code
    whole, seconds = driver.timed(folder / "whole")
    last = begin + 60 * asked.minutes
    while tally.kills() < asked.kills and time.monotonic() < last:
        run = folder / str(runs)
        before = len(tally.lost)
        try:
            storm(run, random, whole, seconds, tally, asked.kills - tally.kills())
        except AssertionError as error:
            tally.lost.append(str(error))
        tally.lost[before:] = [f"{run}: {what}" for what in tally.lost[before:]]
        if len(tally.lost) == before:
            shutil.rmtree(run)
        runs += 1
        progress.note(f"{tally.kills()}/{asked.kills} kills, {runs} runs, {len(tally.lost)} lost")
    progress.close()
    spent = duration(time.monotonic() - begin)
    print(table(tally))
    print(f"{tally.kills()} kills in {runs} runs, as many restarts, {spent}; seed {asked.seed}")
    print("\n".join(["lost or changed:", *tally.lost]) if tally.lost else "nothing was lost")
    if not tally.lost:
        shutil.rmtree(folder)
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
