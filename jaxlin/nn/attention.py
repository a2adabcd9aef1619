"""Causal softmax attention of whole sequences, by the best that a library has for the chip."""

from __future__ import annotations

import functools
from typing import Any

import jax
from jaxtyping import Array, Float, Int

from jaxlin.nn.slices import on_slices
from kernels_pallas.chip import automatic_axes, target

BLOCKS = (512, 256, 128)  # queries, and keys, that a step of the TPU kernel holds scores of


def causal_attention(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t g k"],
    v: Float[Array, "b t g k"],
    *,
    segment_ids: Int[Array, "b t"] | None = None,
    window: int | None = None,
    interpret: bool = False,
) -> Float[Array, "b t h k"]:
    """o_i = sum_{j <= i} softmax_j(q_i k_j / sqrt(k)) v_j   over j of i's document and window

    Query head i reads kv head i // (h / g). On a TPU, where 128 divides t, by JAX's splash
    attention, which holds one block of scores at a time and skips blocks that no query sees;
    elsewhere by `jax.nn.dot_product_attention`, which may hold all [t, t]. interpret: the kernel on
    any platform, slowly.

    Source: Vaswani et al. 2017, arXiv 1706.03762; by blocks Dao et al. 2022, arXiv 2205.14135.
    """
    t = q.shape[1]
    block = next((size for size in BLOCKS if t % size == 0), None)
    if block and (interpret or target().platform == "tpu"):
        kernel = functools.partial(_by_blocks, block=block, window=window, interpret=interpret)
        arrays = {"q": q, "k": k, "v": v, "ids": segment_ids}
        if not automatic_axes():
            return kernel(**arrays)
        given = {name: ("bt" if name == "ids" else "bthk", x) for name, x in arrays.items()}
        return on_slices(kernel, given, "bthk", check_vma=False)  # which the kernel does not tell
    mask = None
    if segment_ids is not None:
        mask = (segment_ids[:, :, None] == segment_ids[:, None, :])[:, None]
    near = None if window is None else (window - 1, 0)
    return jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=True, local_window_size=near)


def _by_blocks(
    q: Array,
    k: Array,
    v: Array,
    ids: Any = None,
    *,
    block: int,
    window: int | None,
    interpret: bool,
) -> Array:
    """Of this device's rows and heads."""
    # Imported here: other platforms do without what it loads.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    t, h = q.shape[1:3]
    one = (
        masks.CausalMask((t, t)) if window is None else masks.LocalMask((t, t), (window - 1, 0), 0)
    )
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    attend: Any = splash.make_splash_mha(
        masks.MultiHeadMask([one] * h),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )

    def of_row(q: Array, k: Array, v: Array, ids: Any) -> Array:
        return attend(q, k, v, None if ids is None else splash.SegmentIds(ids, ids))

    q, k, v = (x.swapaxes(1, 2) for x in (q * q.shape[-1] ** -0.5, k, v))
    return jax.vmap(of_row)(q, k, v, ids).swapaxes(1, 2)
