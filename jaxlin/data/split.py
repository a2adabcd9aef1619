"""Which part of a corpus is held out: a function of the documents' content alone."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Int64, UInt64

# By hash, the number of held-out documents scatters by its square root; below this many expected
# ones it could be none.
ENOUGH = 20


def content_hash(tokens: np.ndarray) -> int:
    """64 bits of the token ids, the same for every dtype and source of the same document."""
    digest = hashlib.blake2b(tokens.astype("<u4").tobytes(), digest_size=8, person=b"held-out")
    return int.from_bytes(digest.digest(), "little")


def share(name: str, purpose: bytes) -> float:
    """A number in [0, 1) that depends on `name` and `purpose` (<= 16 bytes) alone."""
    digest = hashlib.blake2b(name.encode(), digest_size=6, person=purpose).digest()
    return int.from_bytes(digest, "little") / 2**48


def split(
    spans: Int64[np.ndarray, "n 2"], hashes: UInt64[np.ndarray, " n"], fraction: float
) -> tuple[Int64[np.ndarray, "a 2"], Int64[np.ndarray, "c 2"], str]:
    """Spans of the training and of the held-out part, and how they were chosen.

    Many documents: whole ones, by hash of their content, so that equal documents stay together
    and neither order nor file names matter. Few documents: the tail of each.
    """
    if fraction == 0:
        return spans, spans[:0], "nothing is held out"
    if len(spans) * fraction >= ENOUGH:
        held = hashes < np.uint64(fraction * 2.0**64)
        chosen = f"{int(held.sum())} of {len(spans)} documents, by hash of their content"
        return spans[~held], spans[held], chosen
    begin, end = spans[:, 0], spans[:, 1]
    cut = end - np.floor((end - begin) * fraction).astype(np.int64)
    train = np.stack([begin, cut], axis=1)
    tail = np.stack([cut, end], axis=1)
    how = f"the last {100 * fraction:g}% of each of {len(spans)} documents"
    return train[cut > begin], tail[end > cut], how
