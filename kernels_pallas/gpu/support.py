"""Which calls the Hopper kernels take, and how they run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.gpu.chunks import Sizes
from kernels_pallas.gpu.gates import CLOSED
from kernels_pallas.gpu.tiles import TILE

HOPPER = ("H100", "H200", "H800", "H20", "GH200")
WIDEST = 256  # of keys and of values: one chunk's operands must fit into shared memory
OLDEST, NEWEST = (0, 11, 2), (0, 12)  # of JAX


def refusal(call: Call, chip: Chip) -> str:
    """Why the call cannot run on the chip; "" if it can."""
    if chip.platform != "gpu":
        return f"it needs an NVIDIA Hopper GPU, not {chip.platform}"
    if not any(name in chip.kind for name in HOPPER):
        return f"written for Hopper GPUs ({', '.join(HOPPER)}), not {chip.kind}"
    version = jax.__version_info__
    if version < OLDEST or version[:2] > NEWEST:
        return f"written for jax 0.11.2 to 0.12, not {jax.__version__}"
    if call.dtype != "bfloat16":
        return f"its inputs are bfloat16, not {call.dtype}"
    if max(call.k, call.v) > WIDEST:
        return f"k and v are at most {WIDEST}, not k={call.k}, v={call.v}"
    return ""


def sizes_of(call: Call, chunk_size: int | None) -> Sizes:
    """The call in whole chunks and tiles. Raises ValueError for another size of chunk."""
    if chunk_size not in (None, TILE):
        raise ValueError(
            f"{call.op}: chunk_size is {chunk_size}; pallas_gpu works in chunks of {TILE} "
            "tokens: leave chunk_size out"
        )

    def tiles(n: int) -> int:
        return -(-n // TILE)

    return Sizes(call.b, tiles(call.t), call.h, tiles(call.k) * TILE, tiles(call.v) * TILE)


def without_resets(tokens: Any) -> Any:
    """Tokens whose resets are a decay to exactly zero, which lets no gradient through either."""
    resets = tokens.resets
    if resets is None:
        return tokens
    decay: Array | None = tokens.log_decay
    if decay is None:
        decay = jnp.zeros((*tokens.k.shape[:3], 1), jnp.float32)
    decay = jnp.where(resets[..., None, None], CLOSED, decay)
    return tokens._replace(log_decay=decay, resets=None)
