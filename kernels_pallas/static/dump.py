"""Reads what the TPU compiler writes about a kernel when it is told to dump its programs.

A program is a sequence of bundles; a bundle holds the instructions that issue in one cycle. Each
slot class has a number of slots a bundle, its capacity.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SLOTS = {
    "MATMUL": "mxu",
    "VALU": "valu",
    "XLU": "xlu",
    "EUP": "eup",
    "VLOAD": "load",
    "VSTORE": "store",
    "VLOAD:FILL": "fill",
    "VSTORE:SPILL": "spill",
}
BUNDLES = "-schedule-analysis_final_bundles.txt"
USE = "-final_hlo-static-per-bundle-utilization.txt"
VMEM = "vmem_report.html"


def flags(folder: Path) -> str:
    """For LIBTPU_INIT_ARGS, before libtpu is loaded: every compile then writes into `folder`.

    Arrays stay in HBM, as those of a model do; small ones would otherwise be put into VMEM, where a
    kernel needs neither copies nor buffers for them.
    """
    return (
        f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true "
        "--xla_vf_vmem_memory_space_assignment=false "
        "--xla_tpu_tpu_custom_call_memory_space_spec=hbm"
    )


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Figures of each instruction of one compile that has a program of its own, by its name.

    bundles; slots: use of each slot class in slots; capacity: slots a bundle; vmem and spilled:
    bytes.
    """
    memory = read_vmem(folder)
    found = {}
    for file in sorted(folder.glob(f"*{USE}")):
        name = instruction(file.name)
        total = read_bundles(next(folder.glob(f"*-{glob_safe(name)}-[0-9]*{BUNDLES}")))
        found[name] = {"bundles": total, **read_use(file.read_text()), **memory.get(name, {})}
    return found


def instruction(file: str) -> str:
    """The instruction of a dump file: TIME-NAME-NN-WHAT.txt."""
    match = re.match(r"\d+-(.+?)-\d+-", file)
    if match is None:
        raise ValueError(f"the compiler's dump has a file of an unknown form: {file}")
    return match[1]


def glob_safe(name: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", name)


def read_bundles(file: Path) -> int:
    match = re.search(r"total scheduled bundles:\s+(\d+)", file.read_text())
    if match is None:
        raise ValueError(f"no count of bundles in the compiler's dump {file.name}")
    return int(match[1])


def read_use(text: str) -> dict[str, Any]:
    """Columns of the per-bundle table: names, capacities, then a line for each bundle."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("MATMUL"))
    names = [name.strip() for name in lines[at].split(",")]
    digits = (line for line in lines[at + 1 :] if re.match(r"[\s\d]+$", line))
    rows = [[int(n) for n in line.split()] for line in digits]
    capacity = {n: c for n, c in zip(names, rows[0], strict=True) if n in SLOTS}
    sums = dict(zip(names, (sum(column) for column in zip(*rows[1:], strict=True)), strict=True))
    return {
        "slots": {SLOTS[n]: sums[n] for n in capacity},
        "capacity": {SLOTS[n]: c for n, c in capacity.items()},
    }


def read_vmem(folder: Path) -> dict[str, dict[str, int]]:
    """VMEM that each instruction occupies, spills included, from the compiler's own report."""
    found = {}
    for file in folder.glob(f"*{VMEM}"):
        text = file.read_text()
        data, _ = json.JSONDecoder().raw_decode(text, text.index("{", text.index("const DATA")))
        for name, entry in data["hlo_breakdowns"].items():
            parts = [a for block in entry["blocks"] for a in block["allocations"]]
            spilled = sum(a["size"] for a in parts if a["tag"] == "SPILL")
            found[name] = {"vmem": entry["total_size"], "spilled": spilled}
    return found
