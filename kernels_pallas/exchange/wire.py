"""What of a summary travels: one array for one collective, in the format of the wire."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.monoid import Summary, pack, unpack


class Wire(NamedTuple):
    """`with_transition`: it differs between devices, and the receiver needs it."""

    dtype: Any  # None: as computed
    with_transition: bool

    def pack(self, summary: Summary) -> Array:
        """[..., v] or [..., v + columns of the transition].

        In bfloat16 a transition takes two columns, its rounded value and the rest: products of
        many would otherwise lose what one state does not.
        """
        m, e = summary
        if not self.with_transition:
            return e if self.dtype is None else e.astype(self.dtype)
        if self.dtype is None:
            return pack(summary)
        high = m.astype(self.dtype)
        low = (m - high.astype(m.dtype)).astype(self.dtype)
        packed = pack(Summary(high, e.astype(self.dtype)))
        return jnp.concatenate([packed, pack(Summary(low, e[..., :0].astype(self.dtype)))], -1)

    def unpack(self, packed: Array, like: Summary) -> Summary:
        """The inverse; the transition of `like` where none travels. Leading axes may be more."""
        dtype, columns = like.state.dtype, like.state.shape[-1]
        if not self.with_transition:
            return Summary(like.transition, packed.astype(dtype))
        if self.dtype is None:
            return unpack(packed, like)
        wide = packed.astype(dtype)
        extra = (wide.shape[-1] - columns) // 2
        high = unpack(wide[..., : columns + extra], like)
        low = jnp.concatenate([wide[..., :columns], wide[..., columns + extra :]], axis=-1)
        return Summary(high.transition + unpack(low, like).transition, high.state)
