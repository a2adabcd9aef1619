"""What a language model has to beat: byte models by counting, and general compressors.

All give bits per byte of the same held-out bytes. The byte models are trained on the training
bytes and then fixed; the compressors see the held-out bytes alone.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64, UInt8, UInt32


def baselines(train: Iterable[bytes], held_out: Iterable[bytes]) -> dict[str, float]:
    """Bits per byte of `held_out` by name of the baseline. Raises ValueError when it is empty."""
    known, text = b"".join(train), b"".join(held_out)
    if not text:
        raise ValueError("there are no held-out bytes to measure")
    return {
        "order-0 bytes": byte_model(known, text, order=0),
        "order-3 bytes": byte_model(known, text, order=3),
        "zlib -9": 8 * len(zlib.compress(text, 9)) / len(text),
        "lzma": 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text),
    }


def byte_model(train: bytes, held_out: bytes, *, order: int) -> float:
    """Bits per byte of `held_out` under an interpolated model of `order` <= 3 bytes of context.

    Witten-Bell: p_k(x | c) = (N(c x) + T(c) p_{k-1}(x | c')) / (N(c) + T(c)), with N counts in the
    training bytes, T(c) the number of different bytes seen after c, c' the context without its
    oldest byte, p_{-1} = 1/256; where c was never seen, p_k = p_{k-1}. Source: Witten and Bell
    1991, "The zero-frequency problem", as interpolation in Chen and Goodman 1998, eq. 6.
    """
    if not 0 <= order <= 3:
        raise ValueError(f"order is {order}; 0 to 3 bytes of context fit into 32 bits")
    known, text = np.frombuffer(train, np.uint8), np.frombuffer(held_out, np.uint8)
    probability = np.full(len(text), 1 / 256)
    for k in range(order + 1):
        probability = _refine(probability, known, text, k)
    return float(-np.mean(np.log2(probability)))


def _refine(
    lower: Float64[np.ndarray, " n"],
    known: UInt8[np.ndarray, " m"],
    text: UInt8[np.ndarray, " n"],
    k: int,
) -> Float64[np.ndarray, " n"]:
    """p_k of each byte of `text` from `lower` = p_{k-1}."""
    grams, counts = np.unique(_grams(known, k), return_counts=True)
    contexts, first = np.unique(grams >> np.uint32(8), return_index=True)
    totals = np.add.reduceat(counts, first) if len(grams) else counts
    kinds = np.diff(np.append(first, len(grams)))

    asked = _grams(text, k)
    seen = _look_up(grams, counts, asked)
    total = _look_up(contexts, totals, asked >> np.uint32(8))
    different = _look_up(contexts, kinds, asked >> np.uint32(8))
    # The first k bytes have no full context and keep the lower order.
    refined = lower.copy()
    refined[k:] = np.where(
        total > 0,
        (seen + different * lower[k:]) / np.maximum(total + different, 1),
        lower[k:],
    )
    return refined


def _grams(text: UInt8[np.ndarray, " n"], k: int) -> UInt32[np.ndarray, " m"]:
    """Each run of k + 1 bytes as one number, the newest byte lowest."""
    size = max(0, len(text) - k)
    code = np.zeros(size, np.uint32)
    for i in range(k + 1):
        code = (code << np.uint32(8)) | text[i : i + size]
    return code


def _look_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """values[i] where keys[i] == asked, else 0; `keys` are sorted."""
    if not len(keys):
        return np.zeros(len(asked))
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[place] == asked, values[place], 0)
