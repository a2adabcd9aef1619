"""A training batch: numpy arrays of one shape, in the order a model takes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32


class Batch(NamedTuple):
    """Windows of a token stream, [b, t] each.

    `segment_ids` start at 1 in each window and count up at each document start; 0 marks padding.
    `positions` count from the document start, or from the window start where the document began
    earlier. `weights` are 0 on padding and 1 elsewhere.
    """

    tokens: Int32[np.ndarray, "b t"]
    targets: Int32[np.ndarray, "b t"]
    segment_ids: Int32[np.ndarray, "b t"]
    positions: Int32[np.ndarray, "b t"]
    weights: Float32[np.ndarray, "b t"]
