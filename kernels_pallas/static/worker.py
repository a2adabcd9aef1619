"""The process that compiles for TPUs: `python -m kernels_pallas.static.worker FOLDER`.

The compiler reads where to dump its programs once, when it is loaded, so it gets a process of its
own, and the empty folder FOLDER. A line of JSON a job on standard input: {"chip": ..., "module":
file of StableHLO text}; a line a result on standard output: figures of each instruction with a
program of its own (see dump.read), or {"error": ...}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.backend import get_compile_options
from jax.interpreters import mlir
from jax.sharding import SingleDeviceSharding

from kernels_pallas.static import dump
from kernels_pallas.static.compiling import device


def main() -> None:
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the compiler prints is no result
    folder = Path(sys.argv[1])
    os.environ["LIBTPU_INIT_ARGS"] = dump.flags(folder)
    for line in sys.stdin:
        results.write(json.dumps(answer(json.loads(line), folder)) + "\n")


def answer(job: dict[str, str], folder: Path) -> dict[str, Any]:
    for file in folder.iterdir():
        file.unlink()
    try:
        compile_text(Path(job["module"]).read_text(), job["chip"])
        return dump.read(folder)
    except Exception as e:  # the job failed, not the worker; the caller raises it
        return {"error": f"{type(e).__name__}: {e}"}


def compile_text(text: str, chip: str) -> None:
    """Compiles a StableHLO module for one device of `chip`."""
    target = device(chip)
    module = module_type().parse(text, mlir.make_ir_context())
    # jax has no public call that compiles a module for a device that is not there.
    devices = SingleDeviceSharding(target)._internal_device_list  # pyright: ignore
    options = get_compile_options(1, 1, device_assignment=np.array([[0]]))
    target.client.compile(module, devices, options)


def module_type() -> Any:
    return type(jax.jit(lambda x: x).lower(0.0).compiler_ir("stablehlo"))


if __name__ == "__main__":
    main()
