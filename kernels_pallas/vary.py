"""Arrays that a `shard_map` body holds once and arrays it holds per device, brought to one type."""

from typing import Any

import jax


def vary_alike(tree: Any) -> Any:
    """`tree` with every array marked as varying over all mesh axes that any of them varies over.

    A scan's carry and a `custom_vjp` need it: both compare types. Outside `shard_map` it does
    nothing; inside, the gradient of an array that was not varying is summed over those axes.
    """
    axes = {axis for x in jax.tree.leaves(tree) for axis in _varying(x)}

    def mark(x: jax.Array) -> jax.Array:
        missing = tuple(sorted(axes - _varying(x)))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(mark, tree)


def _varying(x: jax.Array) -> frozenset[str]:
    return jax.typeof(x).manual_axis_type.varying
