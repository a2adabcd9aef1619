"""The other end of `worker`: a process that compiles StableHLO for TPUs and reads its programs."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kernels_pallas.static.compiling import ENVIRONMENT


class CompileError(RuntimeError):
    """The TPU compiler refused a program."""


class Compiler:
    """Starts the process with the first program, and another one where that died or was stopped.

    timeout: seconds that one program may compile.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.folder = tempfile.TemporaryDirectory(prefix="tpu-costs-")
        self.process: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """Ends the process and leaves no file behind."""
        self.stop()
        self.folder.cleanup()

    def compile(self, text: str, chip: str) -> dict[str, Any]:
        """Compiles a StableHLO module; the figures of its instructions (see `dump.read`)."""
        module = Path(self.folder.name) / "module.mlir"
        module.write_text(text)
        found = self.ask({"chip": chip, "module": str(module)})
        if "error" in found:
            raise CompileError(f"{chip}: {' '.join(found['error'].split())}")
        return found

    def ask(self, job: dict[str, str]) -> dict[str, Any]:
        process = self.process or self.start()
        assert process.stdin and process.stdout
        with contextlib.suppress(BrokenPipeError):  # it died; its output says so below
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(self.timeout):
                self.stop()
                raise CompileError(f"{job['chip']}: compiling took more than {self.timeout:g} s")
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.stop()
            raise CompileError(f"{job['chip']}: the compiler died, exit code {code}: {self.log()}")
        return json.loads(line)

    def start(self) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | ENVIRONMENT
        programs = Path(self.folder.name) / "programs"
        programs.mkdir(exist_ok=True)
        with (Path(self.folder.name) / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kernels_pallas.static.worker", str(programs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        return self.process

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()

    def log(self) -> str:
        return (Path(self.folder.name) / "log").read_text()[-2000:]
