"""Devices in the order of the slices of time that they hold."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

Axis = str | tuple[str, ...]  # mesh axes, the first varies slowest


class Line(NamedTuple):
    """The devices along mesh axes; `back`: seen from the last one, as gradients travel."""

    axis: Axis
    size: int
    back: bool = False

    @classmethod
    def along(cls, axis: Axis) -> Line:
        """Inside `shard_map`. Raises ValueError where it runs over no such axis."""
        names = (axis,) if isinstance(axis, str) else axis
        try:
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise NameError
            return cls(axis, jax.lax.axis_size(axis))
        except NameError:
            known = jax.sharding.get_abstract_mesh().manual_axes
            raise ValueError(
                f"axis is {axis!r}; wanted a mesh axis, or a tuple of them, that the enclosing "
                f"jax.shard_map runs over: {', '.join(known) or 'there is none here'}"
            ) from None

    def reversed(self) -> Line:
        return self._replace(back=not self.back)

    def rank(self) -> Int[Array, ""]:
        """This device's place, from 0."""
        index = jax.lax.axis_index(self.axis)
        return self.size - 1 - index if self.back else index

    def pass_on(self, tree: Any, distance: int = 1) -> Any:
        """What the device `distance` places earlier holds; zeros where there is none."""
        pairs = [(i, i + distance) for i in range(self.size - distance)]
        if self.back:
            pairs = [(self.size - 1 - i, self.size - 1 - j) for i, j in pairs]
        return jax.tree.map(lambda x: jax.lax.ppermute(x, self.axis, pairs), tree)

    def gather(self, x: Array, count: int, stride: int = 1) -> Array:
        """[count, ...]: what the devices hold whose places are equal but for the digit of weight
        `stride` and base `count`, in order."""
        groups = None
        if count != self.size:
            starts = [i for i in range(self.size) if i // stride % count == 0]
            groups = [[start + j * stride for j in range(count)] for start in starts]
        found = jax.lax.all_gather(x, self.axis, axis_index_groups=groups)
        return jnp.flip(found, axis=0) if self.back else found
