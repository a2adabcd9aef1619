"""Points that train within a moment, and a sweep of them: what the machinery of processes does
without jax.

    stub.py train FOLDER ID ...    10 units of work a point; told to stop it keeps what it has
    stub.py sweep FOLDER PARALLEL  works through the queue of FOLDER
"""

import os
import signal
import sys
import time
from pathlib import Path

UNITS, UNIT = 10, 0.02
CODES = {"fails": 5, "asks": 75}  # a point whose name begins so ends with this code


def train(folder, ids):
    """Each point's file `work` gets a line a unit of work, once."""
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    for id in ids:
        run = folder / "runs" / id
        run.mkdir(parents=True, exist_ok=True)
        with (run / "work").open("a+") as file:
            file.seek(0)
            for unit in range(len(file.read().splitlines()), UNITS):
                time.sleep(UNIT)
                print(unit, file=file, flush=True)
                if told:
                    sys.exit(75)
        code = next((c for name, c in CODES.items() if id.startswith(name)), 0)
        if code:
            print("some lines before\njaxlin: error: step 7: loss nan\n  and why", file=sys.stderr)
            sys.exit(code)
        if id.startswith("dies"):
            os.kill(os.getpid(), signal.SIGKILL)


def command(folder, ids):
    return [sys.executable, "-S", __file__, "train", str(folder), *ids]


def sweep(folder, ids, parallel=1, groups=None, **more):
    """A runner over these ids."""
    from jaxlin.study.sweep.folder import Sweep
    from jaxlin.study.sweep.queue import Queue
    from jaxlin.study.sweep.runner import Runner, Settings

    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return Runner(
        Sweep(folder, [], {}),
        Queue(folder),
        groups or [(id,) for id in ids],
        Settings(parallel),
        command=lambda found: command(folder, found),
        **more,
    )


if __name__ == "__main__":
    what, place, *words = sys.argv[1:]
    if what == "train":
        train(Path(place), words)
    else:
        names = (Path(place) / "ids").read_text().split()
        told = sweep(Path(place), names, int(words[0])).run()
        sys.exit(75 if told else 0)
