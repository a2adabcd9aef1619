"""Three seeds of a small hybrid, trained in several ways: wall time and processor time.

    python benchmarks/sweep.py
    python benchmarks/sweep.py --steps 200 model.width=128

One after the other, several processes at a time, and together as one program; without and with the
cache of compiled code, with shared cores and with cores of their own. The last table compares, in
one process, steps of all runs at a time (vmap) with steps of one after the other.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import jax
from machine import header

from jaxlin.config.points import product, resolve, seeds
from jaxlin.parallel.table import align
from jaxlin.study.sweep import folder
from jaxlin.study.sweep.plan import shares
from jaxlin.study.sweep.queue import Queue
from jaxlin.study.sweep.runner import Runner, Settings
from jaxlin.train.job import make_job
from jaxlin.train.many_step import first_states, make_steps, stack

SMALL = (
    "model.width=64", "model.layers=4", "model.pattern=mixer + attention", "model.ffn.hidden=128",
    "model.mixer.heads=2", "model.mixer.head_dim=16", "context=64", "batch=64", "log.every=10",
)  # fmt: skip
NO_CACHE = (("JAX_ENABLE_COMPILATION_CACHE", "false"),)
ONE, ALL = 1, 3
WAYS = {
    "one by one, nothing cached": (ONE, Settings(1, variables=NO_CACHE)),
    "one by one": (ONE, Settings(1)),
    "3 processes": (ONE, Settings(3)),
    "2 processes": (ONE, Settings(2)),
    "2 processes, each its cores": (ONE, Settings(2, cores=shares(2))),
    "together": (ALL, Settings(1)),
}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("changes", nargs="*", metavar="path=value")
    p.add_argument("--steps", type=int, default=60)
    p.add_argument("--only", choices=[*WAYS, "steps"], help="one of the ways")
    args = p.parse_intermixed_args()
    half = args.steps // 2
    words = [f"steps={args.steps}", f"eval.every={half}", f"checkpoint.every={half}"]
    points = resolve(product("tiny", *SMALL, *words, *args.changes, seed=seeds(3)))
    print(header())
    rows = [["3 runs", "wall s", "processor s"]]
    for name, (size, settings) in WAYS.items():
        if args.only in (None, name):
            rows.append([name, *(f"{seconds:.0f}" for seconds in trained(points, size, settings))])
    print(align(rows, right=(1, 2)))
    if args.only in (None, "steps"):
        print(align(stepped(points), right=(1, 2)))


def trained(points: list, size: int, settings: Settings) -> tuple[float, float]:
    """Wall and processor seconds of a whole sweep, `size` points a process."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as name:
        sweep = folder.Sweep(Path(name), points, {})
        (Path(name) / "file.py").touch()
        folder.write(folder.begin(Path(name) / "sweep", Path(name) / "file.py", points)[0])
        sweep = sweep._replace(folder=Path(name) / "sweep")
        ids = [one.id for one in points]
        groups = [tuple(ids[i : i + size]) for i in range(0, len(ids), size)]
        queue = Queue(sweep.folder)
        before, start = spent(), time.perf_counter()
        Runner(sweep, queue, groups, settings).run()
        seconds = time.perf_counter() - start, spent() - before
        states = [event.state for event in queue.states(ids).values()]
        assert states == ["done"] * len(ids), states
    return seconds


def spent() -> float:
    """Processor seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stepped(points: list, k: int = 10) -> list[list[str]]:
    """Milliseconds a step of three runs, and seconds to compile, by how many are computed at a
    time."""
    job = make_job(points[0].cfg)
    seeds_ = jax.numpy.arange(3, dtype=jax.numpy.uint32)
    source = job.batches_after(0, 0, slice(0, job.cfg.batch))
    batches = stack([stack([next(source)] * 3) for _ in range(k)])
    rows = [["a step of 3 runs", "compile s", "ms"]]
    for width in (1, 3):
        call, states = make_steps(job.plan, job.mesh, width), first_states(job.plan, seeds_)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            states, metrics = jax.block_until_ready(call(seeds_, states, batches))
            times.append(time.perf_counter() - start)
        best = min(times[1:])
        rows.append([f"{width} at a time", f"{times[0] - best:.1f}", f"{1000 * best / k:.0f}"])
    source.close()
    return rows


if __name__ == "__main__":
    main()
