"""The site-aware Linear: every weight product of a model goes through it.

A site is the module's path. Adapters of a site lie in the `adapters` collection at the same path,
under `kernel`, as a mapping from adapter name to a delta (see jaxlin.adapters). Without them the
jaxpr is that of the plain product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlin.nn.param import param
from jaxlin.projections.dense import dense

Product = Callable[[Float[Array, "*batch inputs"]], Float[Array, "*batch outputs"]]


class Linear(nn.Module):
    """y = x W (+ bias) (+ the adapters of this site).

    kernel [inputs, features] and bias [features] are float32; the product is in `dtype`. `axes` are
    the logical names of the kernel's two axes, for sharding. With `heads`, y is [*batch, heads,
    features / heads]: the product itself writes that layout, where a reshape after it would be a
    copy on TPU.
    """

    features: int
    axes: tuple[str | None, str | None]
    dtype: Any = jnp.float32
    bias: bool = False
    std: float = 0.02
    heads: int | None = None

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*outputs"]:
        return self.product(x.shape[-1])(x)

    @nn.compact
    def product(self, inputs: int, result: Any = None) -> Product:
        """x -> y as a plain function of x, free to be called inside scans and checkpoints.

        `result`: the dtype of sums and of y where it differs from that of the operands.
        """
        init, shape = nn.initializers.normal(self.std), (inputs, self.features)
        kernel = param(self, "kernel", init, self.axes, shape)
        bias = None
        if self.bias:
            bias = param(self, "bias", nn.initializers.zeros, self.axes[1:], shape[1:])
        deltas = site_adapters(self, "kernel")

        def apply(x: Array) -> Array:
            y = dense(x, kernel, bias, self.dtype, result, self.heads)
            for delta in deltas:
                y = y + delta.output(x.astype(self.dtype)).reshape(y.shape)
            return y

        return apply


def site_adapters(module: nn.Module, name: str) -> list[Any]:
    """The adapters attached at `name` below this module's path, in the order of their names."""
    if not module.has_variable("adapters", name):
        return []
    attached = module.get_variable("adapters", name)
    return [attached[key] for key in sorted(attached)]


def tap(module: nn.Module, name: str, h: Array) -> Array:
    """The activation site `name` of `module`: applies its adapters, shows `h` to observers.

    Observers read the collection `taps` (a tuple a site) after apply(..., mutable=["taps"]).
    """
    for function in site_adapters(module, name):
        h = function(h)
    return show(module, name, h)


def show(module: nn.Module, name: str, h: Array) -> Array:
    """`h` itself; shows it to observers as the activation site `name`."""
    if not module.is_initializing():
        module.sow("taps", name, h)
    return h


def observed(variables: Any) -> Any:
    """The `taps` collection with each site's only value unpacked from its tuple."""
    is_tuple = lambda leaf: isinstance(leaf, tuple)  # noqa: E731
    return jax.tree.map(lambda leaf: leaf[0], variables["taps"], is_leaf=is_tuple)
