"""States, halos and keys across devices that hold one sequence in contiguous slices.

Functions for the body of a `jax.shard_map` over the mesh axis (or axes) that time is split over.
"""

from kernels_pallas.exchange.api import METHODS as METHODS
from kernels_pallas.exchange.api import RESIDUALS as RESIDUALS
from kernels_pallas.exchange.api import exchange as exchange
from kernels_pallas.exchange.halo import halo as halo
from kernels_pallas.exchange.how import Exchange as Exchange
from kernels_pallas.exchange.line import Line as Line
from kernels_pallas.exchange.softmax import SOFTMAX_RESIDUALS as SOFTMAX_RESIDUALS
from kernels_pallas.exchange.softmax import softmax_attention_across as softmax_attention_across
