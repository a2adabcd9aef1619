"""Matrix products of a chunk, for all heads of a grid step at once: arrays [h, rows, columns].

A product of one head fills the matrix unit while another's is under way. Each head's operands are
rounded as matrices: as parts of a batch they would take five times the instructions.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_NN, _NT, _TN = ((2,), (1,)), ((2,), (2,)), ((1,), (1,))


class Products(NamedTuple):
    """Products with float32 sums: of operands rounded to bfloat16 (`short`), or in full float32."""

    short: bool

    @property
    def kind(self) -> Any:
        """Of operands."""
        return jnp.bfloat16 if self.short else jnp.float32

    def nn(self, a: Array, b: Array) -> Array:
        """a b: [h, i, x] [h, x, j] -> [h, i, j]."""
        return self._dot(a, b, _NN)

    def nt(self, a: Array, b: Array) -> Array:
        """a b^T: [h, i, x] [h, j, x] -> [h, i, j]."""
        return self._dot(a, b, _NT)

    def tn(self, a: Array, b: Array) -> Array:
        """a^T b: [h, x, i] [h, x, j] -> [h, i, j]."""
        return self._dot(a, b, _TN)

    def sums_of_rows(self, ones: Float[Array, "i j"], x: Float[Array, "h x j"]) -> Array:
        """ones x^T [h, i, x] for a matrix of zeros and ones: float32 sums of entries of x, of which
        short products keep 16 bits."""
        ones = jnp.broadcast_to(ones, (x.shape[0], *ones.shape))
        return total([_batched(ones, piece, _NT) for piece in self._pieces(x)])

    def shares_of_columns(self, x: Float[Array, "h x j"], ones: Float[Array, "j i"]) -> Array:
        """x ones [h, x, i]: the adjoint of `sums_of_rows`, in the operands' format."""
        ones = jnp.broadcast_to(ones, (x.shape[0], *ones.shape))
        pieces = [x] if self.short else self._pieces(x)
        return total([_batched(piece, ones, _NN) for piece in pieces])

    def sums(self, ones: Float[Array, "i j"], x: Float[Array, "h j x"]) -> Float[Array, "h i x"]:
        """ones x, as `sums_of_rows`: the pieces of x, rows below rows, in one product."""
        pieces = self._pieces(x)
        ones = jnp.concatenate([ones] * len(pieces), axis=1)
        ones = jnp.broadcast_to(ones, (x.shape[0], *ones.shape))
        return _batched(ones, jnp.concatenate(pieces, axis=1), _NN)

    def applied(self, ones: Float[Array, "i j"], x: Float[Array, "h j x"]) -> Float[Array, "h i x"]:
        """ones x in the operands' format."""
        ones = jnp.broadcast_to(ones, (x.shape[0], *ones.shape))
        pieces = [x] if self.short else self._pieces(x)
        return total([_batched(ones, piece, _NN) for piece in pieces])

    def _pieces(self, x: Array) -> list[Array]:
        """float32 as a sum of bfloat16 numbers: of 16 bits, or exactly."""
        if self.short:
            return [*halves(x)]
        high = _rounded(x)
        low = _rounded(x - high)
        return [piece.astype(jnp.bfloat16) for piece in (high, low, x - high - low)]

    def _dot(self, a: Array, b: Array, contract: tuple) -> Array:
        precision = jax.lax.Precision.DEFAULT if self.short else jax.lax.Precision.HIGHEST
        return _batched(a, b, contract, precision, self.kind)


def twice(a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
    """a b from the `halves` of both in three bfloat16 passes, with an error of 2^-16."""
    (high_a, low_a), (high_b, low_b) = a, b
    small = _batched(high_a, low_b, _NN) + _batched(low_a, high_b, _NN)
    return _batched(high_a, high_b, _NN) + small


def halves(x: Float[Array, "..."]) -> tuple[Array, Array]:
    """x as the sum of two bfloat16 numbers, to 2^-16."""
    high = x.astype(jnp.bfloat16)
    return high, (x - high.astype(jnp.float32)).astype(jnp.bfloat16)


def _rounded(x: Float[Array, "..."]) -> Array:
    """x to the 8 bits of bfloat16, through its bits: XLA may leave out a conversion there and back,
    and does so on CPUs, where kernels are interpreted."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return jax.lax.bitcast_convert_type((bits + 0x8000) & -0x10000, jnp.float32)


def total(parts: list[Array]) -> Array:
    """The sum of at least one array."""
    return reduce(add, parts)


def _batched(
    a: Array,
    b: Array,
    contract: tuple,
    precision: jax.lax.Precision = jax.lax.Precision.DEFAULT,
    kind: Any = jnp.bfloat16,
) -> Array:
    (i,), (j,) = contract
    dimensions = (((i - 1,), (j - 1,)), ((), ()))

    def product(a: Array, b: Array) -> Array:
        a, b = a.astype(kind), b.astype(kind)
        return jax.lax.dot_general(
            a, b, dimensions, precision=precision, preferred_element_type=jnp.float32
        )

    return jnp.stack([product(a[head], b[head]) for head in range(a.shape[0])])
