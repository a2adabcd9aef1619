"""What of a summary travels: one array for one collective, in the format of the wire."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.monoid import Summary


class Wire(NamedTuple):
    """`with_transition`: it differs between devices, and the receiver needs it."""

    dtype: Any  # None: as computed
    with_transition: bool

    def pack(self, summary: Summary) -> Array:
        """The state as it is, or rows of v numbers: the state's, then the transition's.

        The transition's numbers fill whole rows one after the other, with zeros behind the last.
        As columns beside the state's v they would cost a TPU, whose rows are 128 numbers wide, a
        copy of every state that arrives.

        In bfloat16 the transition travels twice, as its rounded value and the rest: products of
        many would otherwise lose what one state does not.
        """
        m, e = summary
        dtype = self.dtype or e.dtype
        if not self.with_transition:
            return e.astype(dtype)
        numbers = m.reshape(-1).astype(dtype)
        if self.dtype is not None:
            rest = m.reshape(-1) - numbers.astype(m.dtype)
            numbers = jnp.concatenate([numbers, rest.astype(dtype)])
        v = e.shape[-1]
        rows = jnp.pad(numbers, (0, -numbers.size % v)).reshape(-1, v)
        return jnp.concatenate([e.astype(dtype).reshape(-1, v), rows])

    def unpack(self, packed: Array, like: Summary) -> Summary:
        """The inverse, in the shapes of `like`; its transition where none travels."""
        m, e = like
        if not self.with_transition:
            return Summary(m, packed.astype(e.dtype))
        of_state = e.size // e.shape[-1]
        state, numbers = packed[:of_state], packed[of_state:].reshape(-1).astype(e.dtype)
        found = numbers[: m.size]
        if self.dtype is not None:
            found = found + numbers[m.size : 2 * m.size]
        return Summary(found.reshape(m.shape), state.astype(e.dtype).reshape(e.shape))
