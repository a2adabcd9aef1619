"""Runs a benchmark as its user does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(script: str, out: Path, *options: str) -> tuple[dict[str, Any], str]:
    """What it wrote and what it printed; one CPU device, as outside the tests."""
    command = [sys.executable, str(FOLDER / script), "--out", str(out), *options]
    environment = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(out.read_text()), ended.stdout
