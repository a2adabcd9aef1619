"""What softmax attention over split sequences sends."""

from __future__ import annotations

from typing import NamedTuple

IDS = 4  # bytes of a document id


class Traffic(NamedTuple):
    """Bytes that a device receives in a layer, forward and backward."""

    forward: int
    backward: int


def softmax_traffic(
    method: str,
    *,
    ranks: int,
    b: int,
    t: int,
    h: int,
    g: int,
    k: int,
    v: int,
    itemsize: int,
    window: int | None = None,
    segments: bool = False,
) -> Traffic:
    """Bytes received of a device by `softmax_attention_across`, with W ranks and n = g (k + v):

        all_gather  (W - 1) b t n, and the same backward
        ring        (W - 1) b t n; backward the same, and gradients of float32
        ulysses     (W - 1) / W b t (h k + n + h v), and the same backward
        window      min(window - 1, (W - 1) t) b n, and the same backward, for all methods but off
        off         0

    times `itemsize`; ids are 4 bytes for each token of other slices, forward.

    Args:
        t: tokens of a slice; h, g, k, v: of the heads that this device has.
        itemsize: bytes of a number in q, k and v.

    Raises:
        ValueError: an unknown method.

    Source: Sun et al. 2025, arXiv 2502.07563, section 4.5, counted for grouped queries.
    """
    keys = b * g * (k + v) * itemsize
    others = (ranks - 1) * t
    if method not in ("all_gather", "ring", "ulysses", "off"):
        raise ValueError(
            f"softmax_traffic: method is {method!r}; wanted all_gather, ring, ulysses or off"
        )
    if method == "off":
        return Traffic(0, 0)
    if window is not None:
        others = min(window - 1, others)
    ids = IDS * b * others if segments else 0
    if window is not None or method == "all_gather":
        return Traffic(others * keys + ids, others * keys)
    if method == "ring":
        return Traffic(others * keys + ids, others * (keys + b * g * (k + v) * 4))
    moved = others * b * (h * (k + v) + g * (k + v)) * itemsize // ranks
    return Traffic(moved + ids, moved)
