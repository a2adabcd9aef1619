"""What the kernels along time are given: the next chunks, the state, tiles of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.tiles import SHARED_BYTES, TILE, TILE_BYTES, kernel, tile


def along_time(
    name: str,
    body: Callable[..., None],
    sizes: Sizes,
    inputs: Chunks,
    result: Any,
    interpret: Any,
    **own: bool,
) -> Callable[..., Any]:
    """The kernel body(sizes, inputs, state, result, slots=, state=, barrier=, **own tiles).

    A block of threads for each head and 64 columns of values. `own`: names of tiles [64, 64], and
    whether each is there.
    """
    keys, squares = sizes.k // TILE, {n: tile(TILE, TILE) if x else None for n, x in own.items()}
    stages = _stages(inputs, sizes, fixed=keys + sum(own.values()))
    scratch = dict(
        slots=_slots(inputs, stages, sizes),
        state=tile(sizes.k, TILE),
        barrier=plgpu.Barrier(num_arrivals=len(jax.tree.leaves(inputs)), num_barriers=stages),
        **squares,
    )
    blocks = sizes.b * sizes.h * (sizes.v // TILE)
    return kernel(name, partial(body, sizes), result, scratch, blocks, interpret)


def _slots(inputs: Chunks, stages: int, sizes: Sizes) -> Chunks:
    """Shared memory for `stages` chunks of the inputs that are there."""
    k = sizes.k
    kinds = [tile(stages, TILE, width) for width in (k, TILE, k, TILE, k)]
    kinds += [plgpu.SMEM((stages, width), jnp.float32) for width in (k, TILE, TILE)]
    return Chunks(*(None if x is None else m for x, m in zip(inputs, kinds, strict=True)))


def _stages(inputs: Chunks, sizes: Sizes, fixed: int) -> int:
    """How many chunks fit into shared memory besides `fixed` tiles [64, 64]."""
    keys = sizes.k // TILE
    wide = sum(x is not None for x in (inputs.read, inputs.write, inputs.erase))
    narrow = sum(x is not None for x in (inputs.scores, inputs.value))
    slot = TILE_BYTES * (keys * wide + narrow) + 4 * (sizes.k + 2 * TILE)
    return 2 if 2 * slot + TILE_BYTES * fixed <= SHARED_BYTES else 1
