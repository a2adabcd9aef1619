"""One state from neighbour to neighbour in blocks, each sent on when it arrives (All-Scan).

Source: ZeCO, arXiv 2507.01004, section 3: the All-Scan collective.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.chip import target
from kernels_pallas.exchange.all_scan_cut import TILE, Blocks, cut
from kernels_pallas.exchange.line import Line
from kernels_pallas.exchange.wire import Wire
from kernels_pallas.hardware import CHIPS
from kernels_pallas.monoid import Summary, is_dense


def exchange_in_all_scan(
    own: Summary, line: Line, wire: Wire, blocks: int | None, interpret: Any
) -> Array:
    """Every device receives one state and sends one, by remote DMA from a kernel:

        S_out^(j) = M^(j) S_in^(j) + E^(j)  for block j = 0, 1, ...;  S_in of the next is S_out

    so that the next device starts when block 0 is there: ranks - 2 + blocks messages of a block
    one after the other, where a ring has ranks - 1 of a whole state. Transitions stay at home.

    A state is cut into heads (batch times heads), then, if there are too few of them, into 128
    columns of v each; ZeCO cuts along k. A matrix mixes all of k, so that only columns and heads
    can be cut for every kind of transition, and heads are better: each is contiguous, where less
    than 128 columns is no block that a TPU can address, and most states have 128.
    """
    # Pallas takes long to import, and other exchanges do without.
    from kernels_pallas.exchange.all_scan_kernel import Scan, scan_kernel

    if line.size == 1:
        return jnp.zeros_like(own.state)
    m, e = _in_rows(own)
    dense = is_dense(own)
    chip = CHIPS.get(target().kind, CHIPS["TPU v6 lite"])  # interpreted: any will do
    bytes_each = jnp.dtype(wire.dtype or e.dtype).itemsize
    parts = cut(e.shape, dense, line.size, chip, bytes_each, blocks)
    dtype = wire.dtype or e.dtype
    scan = Scan(line.size, parts, dense, dtype, _number(line), _name(line, parts))
    found = scan_kernel(scan, _neighbours(line), m, e, interpret)
    return _as_before(found, own.state)


def refusal(interpret: Any) -> str:
    """Why the method cannot run where the computation is traced for; "" where it can."""
    platform = target().platform
    if platform == "tpu" or interpret:
        return ""
    return (
        f"exchange: method 'all_scan' sends by remote DMA between TPUs, found platform "
        f"{platform!r}; use all_gather, hierarchical, log_step or ring there, or auto, or, for "
        "tests, interpret=pltpu.InterpretParams() in Exchange"
    )


def _in_rows(own: Summary) -> tuple[Float[Array, "r k v"], Float[Array, "r a b"]]:
    """Transition and state as the kernel takes them; a of k
    or 1 (a matrix, or not), b of k or 1 (a number a head).

    The elementwise recurrence fills tiles of 8 x 128 channels, transitions alike.
    """
    m, e = own
    if e.ndim == 2:
        return _tiles(jnp.broadcast_to(m, e.shape)), _tiles(e)
    rows = math.prod(e.shape[:2])
    m = jnp.broadcast_to(m, (*e.shape[:2], *m.shape[2:])).reshape(rows, *m.shape[2:])
    # Numbers a key lie along the lanes: a column of them would be padded to a whole state.
    m = m if m.ndim == 3 else m.reshape(rows, 1, -1)
    return m, e.reshape(rows, *e.shape[2:])


def _tiles(x: Float[Array, "b d"]) -> Float[Array, "r 8 128"]:
    flat = x.reshape(-1)
    flat = jnp.pad(flat, (0, -flat.size % math.prod(TILE)))
    return flat.reshape(-1, *TILE)


def _as_before(found: Float[Array, "r k v"], like: Array) -> Array:
    return found.reshape(-1)[: like.size].reshape(like.shape).astype(like.dtype)


def _neighbours(line: Line) -> Int[Array, " n"]:
    """This device's place, mesh coordinates of the next device and of the one before; at the ends,
    where nothing is sent, its own.

    Of all axes of the mesh: left to Pallas, those that stay the same are found in the kernel by
    types that its lowering does not know inside a `shard_map` that checks what varies.
    """
    rank = line.rank()
    next_, before = jnp.minimum(rank + 1, line.size - 1), jnp.maximum(rank - 1, 0)
    return jnp.stack([rank, *_coordinates(line, next_), *_coordinates(line, before)])


def _coordinates(line: Line, place: Array) -> list[Array]:
    index = line.size - 1 - place if line.back else place
    found = {axis: jax.lax.axis_index(axis) for axis in _mesh_axes()}
    for axis in reversed(_axes(line)):
        size = jax.lax.axis_size(axis)
        found[axis] = index % size
        index = index // size
    return list(found.values())


def _axes(line: Line) -> tuple[str, ...]:
    return (line.axis,) if isinstance(line.axis, str) else line.axis


def _mesh_axes() -> tuple[str, ...]:
    return jax.sharding.get_abstract_mesh().axis_names


def _number(line: Line) -> int:
    """Of the barrier: one for each set of mesh axes and direction.

    Kernels of one direction may share it: a device enters the next kernel after it has received
    from the one before, which by then has counted its signal. In the other direction signals come
    from the other side, and the first device would not wait for them.
    """
    names = _mesh_axes()
    return 2 * sum(1 << names.index(axis) for axis in _axes(line)) + line.back


def _name(line: Line, parts: Blocks) -> str:
    """What reads compiled programs finds there: blocks, and the mesh axes."""
    return f"all_scan_{parts.count}_{'_'.join(_axes(line))}"
