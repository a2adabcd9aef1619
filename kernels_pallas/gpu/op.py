"""From an op's arguments to the passes along time."""

from __future__ import annotations

from typing import Any

from jaxtyping import Array, Float

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.gpu.ready import ready_operands
from kernels_pallas.gpu.recurrence import Operands, Plan, interpreter, through_chunks
from kernels_pallas.gpu.support import sizes_of, without_resets


def run(
    operands: Operands,
    call: Call,
    chip: Chip,
    tokens: Any,
    initial_state: Float[Array, "b h k v"],
    scale: float,
    chunk_size: int | None,
    interpret: Any,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Outputs in v's dtype and the final state float32. Raises ValueError for a `chunk_size`.

    `operands` makes the chunks' operands where there is at most one decay a head.
    """
    made = ready_operands if call.decay == "key" else operands
    plan = Plan(made, sizes_of(call, chunk_size), scale, interpreter(interpret))
    return through_chunks(plan, without_resets(tokens), initial_state)
