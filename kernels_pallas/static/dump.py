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
PROGRAM = "-final_bundles.txt"
USE = "-final_hlo-static-per-bundle-utilization.txt"
VMEM = "vmem_report.html"
BUNDLE = re.compile(r"^\s*(?:0x[0-9a-f]+|\d+)\s+(\w\w)?\s*:\s*(>*)\s*\{(\})?", re.MULTILINE)


def flags(folder: Path) -> str:
    """For LIBTPU_INIT_ARGS, before libtpu is loaded: every compile then writes into `folder`.

    Arrays stay in HBM, as those of a model do; small ones would otherwise be put into VMEM, where a
    kernel needs neither copies nor buffers for them.
    """
    return (
        f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true "
        "--xla_jf_dump_llo_pass_label_regex=final.* "
        "--xla_vf_vmem_memory_space_assignment=false "
        "--xla_gf_vmem_memory_space_assignment=false "
        "--xla_tpu_tpu_custom_call_memory_space_spec=hbm"
    )


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Figures of each instruction of one compile that has a program of its own, by its name.

    parts: the program outside of loops and then each loop, in its order, with the part around it
    (parent), its bundles and the slots that they take; capacity: slots a bundle; vmem and spilled:
    bytes.
    """
    memory = read_vmem(folder)
    found = {}
    for file in sorted(folder.glob(f"*{USE}")):
        name = instruction(file.name)
        programs = folder.glob(f"*-{glob_safe(name)}-[0-9]*{PROGRAM}")
        program = next(f for f in programs if "schedule-analysis" not in f.name)
        rows, capacity = read_use(file.read_text())
        parts = read_parts(program.read_text(), rows)
        found[name] = {"parts": parts, "capacity": capacity, **memory.get(name, {})}
    return found


def instruction(file: str) -> str:
    """The instruction of a dump file: TIME-NAME-NN-WHAT.txt."""
    match = re.match(r"\d+-(.+?)-\d+-", file)
    if match is None:
        raise ValueError(f"the compiler's dump has a file of an unknown form: {file}")
    return match[1]


def glob_safe(name: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", name)


def read_use(text: str) -> tuple[list[list[int]], dict[str, int]]:
    """Of the per-bundle table the slots that each bundle takes, by SLOTS, and their capacity."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("MATMUL"))
    names = [name.strip() for name in lines[at].split(",")]
    columns = [names.index(name) for name in SLOTS]
    digits = (line for line in lines[at + 1 :] if re.match(r"[\s\d]+$", line))
    rows = [[int(line.split()[i]) for i in columns] for line in digits]
    return rows[1:], dict(zip(SLOTS.values(), rows[0], strict=True))


def read_parts(program: str, use: list[list[int]]) -> list[dict[str, Any]]:
    """See `read`. A ">" before a bundle stands for each loop around it, LB marks a loop's first. An
    empty bundle is printed without them."""
    bundles = [(mark, len(depth), bool(empty)) for mark, depth, empty in BUNDLE.findall(program)]
    if len(bundles) != len(use):
        raise ValueError(f"the compiler dumped {len(bundles)} bundles and the use of {len(use)}")
    parts: list[dict[str, Any]] = []
    inside: list[tuple[int, int]] = []  # parts, and the bundles that end them

    def enter(last: int) -> None:
        parent = inside[-1][0] if inside else None
        parts.append({"parent": parent, "bundles": 0, "slots": dict.fromkeys(SLOTS.values(), 0)})
        inside.append((len(parts) - 1, last))

    enter(len(bundles))
    for at, slots in enumerate(use):
        while inside[-1][1] < at:
            inside.pop()
        if bundles[at][0] == "LB":
            enter(_last_of_loop(bundles, at))
        part = parts[inside[-1][0]]
        part["bundles"] += 1
        for name, n in zip(SLOTS.values(), slots, strict=True):
            part["slots"][name] += n
    return parts


def _last_of_loop(bundles: list[tuple[str, int, bool]], first: int) -> int:
    """The last bundle as deep as the first one. Those between that are less deep do, under a
    predicate, what follows the loop, and are issued in each of its turns."""
    depth, last = bundles[first][1], first
    for at in range(first + 1, len(bundles)):
        mark, here, empty = bundles[at]
        if not empty and mark == "LB" and here <= depth:
            break
        if not empty and here >= depth:
            last = at
    return last


def read_vmem(folder: Path) -> dict[str, dict[str, int]]:
    """VMEM that each instruction occupies, spills included, from the compiler's own report."""
    found = {}
    for file in folder.glob(f"*{VMEM}"):
        text = file.read_text()
        data, _ = json.JSONDecoder().raw_decode(text, text.index("{", text.index("const DATA")))
        for name, entry in data["hlo_breakdowns"].items():
            parts = [a for block in entry["blocks"] for a in block["allocations"]]
            spilled = sum(a["size"] for a in parts if a.get("tag") == "SPILL")
            found[name] = {"vmem": entry["total_size"], "spilled": spilled}
    return found
