"""One peer of `gpu.py` in a process of its own: builds, checks and times what it is told.

python benchmarks/gpu_worker.py PEER DEVICE        (a line of JSON in, a line of JSON out)
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from cases import Calls, Peer, Shape, draw, largest_error, rounded

Request = dict[str, Any]
ON_TORCH = ("fla", "torch flash")


def peer(name: str, device: str) -> Peer:
    """A peer by its name in the table."""
    if name in ON_TORCH:
        import peers_torch

        return (
            peers_torch.fla(device)
            if name == "fla"
            else peers_torch.sdpa(device, "FLASH_ATTENTION")
        )
    import peers_jax

    return peers_jax.softmax(name, "cudnn") if name == "cudnn" else peers_jax.ours(name)


class Server:
    """Holds the form that is being measured."""

    def __init__(self, name: str, device: str):
        self.name, self.peer, self.device = name, peer(name, device), device
        self.calls: Calls | None = None

    def check(self, ask: Request) -> Request:
        """Relative error at a small shape, against the float64 arrays of a file."""
        arrays = rounded(draw(ask["op"], Shape(*ask["shape"])), ask["dtype"])
        with np.load(ask["right"]) as file:
            right = {name: file[name] for name in file.files}
        outputs = right.pop("outputs")
        calls = self.peer.build(ask["op"], arrays, ask["dtype"])
        error, where = largest_error(calls, (outputs, right))
        return {"error": error, "where": where}

    def prepare(self, ask: Request) -> Request:
        """Inputs in place, both calls compiled and run once."""
        self.calls = None
        if self.name in ON_TORCH and self.device == "cuda":
            import torch

            torch.cuda.empty_cache()  # the other peers need room as well
        arrays = rounded(draw(ask["op"], Shape(*ask["shape"])), ask["dtype"])
        self.calls = self.peer.build(ask["op"], arrays, ask["dtype"])
        for call in (self.calls.forward, self.calls.both):
            self.calls.wait(call())
        return {}

    def time(self, ask: Request) -> Request:
        """Median milliseconds of the forward call and of the call with all gradients."""
        assert self.calls
        found = {}
        for name, call in (("forward_ms", self.calls.forward), ("both_ms", self.calls.both)):
            found[name] = _median_ms(call, self.calls.wait, ask["seconds"])
        self.calls = None
        return found

    def device_name(self, ask: Request) -> Request:
        """What the driver calls the chip, and the versions of what runs on it."""
        if self.name in ON_TORCH:
            import torch

            chip = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
            return {"device": chip, "versions": f"torch {torch.__version__}"}
        import jax

        return {"device": jax.devices()[0].device_kind, "versions": f"jax {jax.__version__}"}


def _median_ms(call: Any, wait: Any, seconds: float) -> float:
    """Calls are queued in bundles of about 20 ms, so that their launch is not what is timed."""
    begin = time.perf_counter()
    wait(call())
    bundle = max(1, min(50, int(0.02 / (time.perf_counter() - begin))))
    times, stop = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < stop:
        begin = time.perf_counter()
        for _ in range(bundle):
            result = call()
        wait(result)
        times.append(1e3 * (time.perf_counter() - begin) / bundle)
    return median(times)


def write_oracle(folder: Path, asks: list[Request]) -> None:
    """The float64 outputs and gradients of the checks, one file an op."""
    import peers_jax

    for ask in asks:
        arrays = rounded(draw(ask["op"], Shape(*ask["shape"])), ask["dtype"])
        outputs, gradients = peers_jax.oracle(ask["op"], arrays)
        np.savez(folder / f"{ask['op']}.npz", outputs=outputs, **gradients)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    name, device = sys.argv[1:]
    server = None
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            if ask["do"] == "oracle":
                write_oracle(Path(ask["folder"]), ask["asks"])
                answer: Request = {}
            else:
                server = server or Server(name, device)
                answer = getattr(server, ask["do"])(ask)
        except Exception as problem:  # whatever stops one form must not stop the others
            said = " ".join(str(problem).split())[:300]
            answer = {"problem": f"{type(problem).__name__}: {said}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
