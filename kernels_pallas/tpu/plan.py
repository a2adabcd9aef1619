"""How the TPU kernels cut a call: rows of a chunk, chunks of a group, heads a grid step."""

from __future__ import annotations

from typing import NamedTuple

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.tables import lookup

# Vector memory of a core in MiB, of the kinds that the kernels are compiled for in tests.
VMEM = {"TPU v5 lite": 128, "TPU v5": 64, "TPU v6 lite": 128, "TPU7x": 64}
# Heads a turn of the backward pass (`grid.turns`), by the static counts of these kinds.
TOGETHER = {"TPU v5 lite": 3, "TPU v5": 3, "TPU v6 lite": 4, "TPU7x": 4}
ROWS = (16, 32, 64, 128)
WIDEST = (256, 512)  # k and v
NAME = "pallas_tpu"


class Blocks(NamedTuple):
    """A grid step does one chunk of `chunk_size` tokens for `heads` heads; every `chunks` chunks
    the state is kept for the backward pass."""

    chunk_size: int
    heads: int
    chunks: int


def refusal(call: Call, chip: Chip) -> str:
    """Why the kernels cannot run `call` on `chip`; "" where they can."""
    if chip.platform != "tpu":
        return f"it needs a TPU, and this is a {chip.platform}"
    if chip.kind not in VMEM:
        return f"it is made for {', '.join(VMEM)}, and this is a {chip.kind}"
    if call.dtype == "float64":
        return "it computes in float32, and an input is float64"
    if call.k > WIDEST[0] or call.v > WIDEST[1]:
        return f"it takes k to {WIDEST[0]} and v to {WIDEST[1]}, and they are {call.k} and {call.v}"
    return ""


def blocks(call: Call, chip: Chip, chunk_size: int | None) -> tuple[Blocks, str]:
    """The blocks for a call and where they are from: argument, table or heuristic.

    Raises ValueError where a chunk size does not fit the chip.
    """
    found, origin = heuristic(call), "heuristic"
    known = lookup(NAME, call, chip)
    if known is not None:
        found, origin = found._replace(**known), "table"
        found = found._replace(heads=_heads(call.h, found.heads))
    if chunk_size is not None:
        found, origin = found._replace(chunk_size=chunk_size), "argument"
    if found.chunk_size not in ROWS:
        raise ValueError(
            f"{call.op}: chunk_size is {chunk_size}; on TPU a chunk has "
            f"{', '.join(map(str, ROWS))} tokens; leave chunk_size out and it is chosen"
        )
    found = found._replace(chunk_size=min(found.chunk_size, _power_of_two(call.t)))
    return _fitting(call, chip, found), origin


def heuristic(call: Call) -> Blocks:
    """What the static counts of benchmarks/tpu_static.py favour."""
    return Blocks(128, _heads(call.h, 4), 8)


def candidates(call: Call, chip: Chip) -> list[dict[str, int]]:
    """The blocks worth trying for `call`."""
    sizes = sorted({_heads(call.h, wanted) for wanted in (1, 2, 4, 8)})
    tried = [Blocks(rows, heads, 8) for rows in ROWS[1:] for heads in sizes]
    return [x._asdict() for x in tried if vmem_bytes(call, x) <= limit(chip)]


def limit(chip: Chip) -> int:
    """Bytes of vector memory that a kernel may use."""
    return VMEM[chip.kind] * 3 // 4 << 20


def vmem_bytes(call: Call, x: Blocks) -> int:
    """What the backward kernel holds: blocks twice (one is under way), states, room for values."""
    k, v = padded(call.k), padded(call.v)
    wide = 4 if call.dtype == "float32" else 2
    gates = {"none": 0, "head": 8, "key": 4 * k}[call.decay]
    tokens = x.chunk_size * (wide * (2 * k + 2 * v) + gates)
    state = 4 * k * v
    inverse = wide * x.chunk_size**2 if call.op == "delta_rule" else 0
    # Registers do not hold all values of a step: so many arrays of a chunk spill at most.
    values = 4 * x.chunk_size * max(x.chunk_size, k, v) * (64 if call.decay == "key" else 24)
    return x.heads * (4 * tokens + 6 * state + x.chunks * (state + inverse) + values)


def padded(width: int) -> int:
    """The width of keys or values in the kernels: half a register's lanes, or whole ones."""
    return 64 if width <= 64 else -(-width // 128) * 128


def words(call: Call, chip: Chip, chunk_size: int | None) -> str:
    """The blocks in words, for `explain`."""
    found, origin = blocks(call, chip, chunk_size)
    return (
        f"chunks of {found.chunk_size} tokens, {found.heads} heads a step, "
        f"a state kept every {found.chunks} chunks ({origin})"
    )


def _fitting(call: Call, chip: Chip, found: Blocks) -> Blocks:
    """Fewer heads a step where the wanted ones do not fit."""
    while vmem_bytes(call, found) > limit(chip):
        if found.heads == 1:
            raise ValueError(
                f"{call.op}: chunk_size {found.chunk_size} with k={call.k}, v={call.v} needs "
                f"{vmem_bytes(call, found) >> 20} MiB of vector memory, and {chip.kind} has "
                f"{limit(chip) >> 20} for it; take a smaller chunk_size"
            )
        found = found._replace(heads=_heads(call.h, found.heads - 1))
    return found


def _heads(h: int, wanted: int) -> int:
    """The largest divisor of h up to `wanted`."""
    return next(x for x in range(min(h, wanted), 0, -1) if h % x == 0)


def _power_of_two(t: int) -> int:
    return max(ROWS[0], 1 << (t - 1).bit_length())
