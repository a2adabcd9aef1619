"""Linear attention on Hopper GPUs: what `kernels_pallas.gpu` needs to know about it."""

from __future__ import annotations

from typing import Any

from jaxtyping import Array, Float

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.gpu import support
from kernels_pallas.gpu.head import head_operands
from kernels_pallas.gpu.ready import ready_operands
from kernels_pallas.gpu.recurrence import Plan, interpreter, through_chunks
from kernels_pallas.linear_attention.xla import Tokens


def refusal(call: Call, chip: Chip) -> str:
    """Why the call cannot run on the chip; "" if it can."""
    return support.refusal(call, chip)


def run(
    call: Call,
    chip: Chip,
    tokens: Tokens,
    initial_state: Float[Array, "b h k v"],
    scale: float,
    chunk_size: int | None,
    interpret: Any,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Outputs in v's dtype and the final state float32. Raises ValueError for a `chunk_size`."""
    sizes = support.sizes_of(call, chunk_size)
    operands = ready_operands if call.decay == "key" else head_operands
    plan = Plan(operands, sizes, scale, interpreter(interpret))
    return through_chunks(plan, support.without_resets(tokens), initial_state)
