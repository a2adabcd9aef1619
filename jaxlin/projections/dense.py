"""The plain matrix product."""

from __future__ import annotations

from typing import Any

from jaxtyping import Array, Float


def dense(
    x: Float[Array, "*batch inputs"],
    kernel: Float[Array, "inputs outputs"],
    bias: Float[Array, " outputs"] | None,
    dtype: Any,
) -> Float[Array, "*batch outputs"]:
    """y = x W + bias, computed in `dtype`."""
    y = x.astype(dtype) @ kernel.astype(dtype)
    return y if bias is None else y + bias.astype(dtype)
