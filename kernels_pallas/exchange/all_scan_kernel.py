"""The kernel of All-Scan: a grid step waits for a block, puts it together, and sends it on.

The block is written by the device before into its place of the result, in HBM. There is one place
and one semaphore for each, so that nobody waits for room: a sender needs to know only that the
next device has begun, which the barrier tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from kernels_pallas.exchange.all_scan_cut import Blocks
from kernels_pallas.tpu.grid import like

SLOTS = 2  # blocks that leave: the next is put together while one is read


class Scan(NamedTuple):
    """wire: dtype that travels; number: of the barrier; name: of the kernel."""

    ranks: int
    blocks: Blocks
    dense: bool
    wire: Any
    number: int
    name: str


class Memory(NamedTuple):
    """What the kernel has beside its blocks of transitions and states."""

    arrived: Any  # the block that came in
    leaving: Any  # [SLOTS, block]
    copied: Any  # semaphores: of the copies here,
    sent: Any  # of each slot,
    received: Any  # of each block


class Step(NamedTuple):
    """A grid step of a device."""

    number: Any  # of the block
    here: Any  # the block's place in the result
    first: Any
    last: Any
    next: Any  # coordinates of the next device
    onward: Any  # the copy to it, and to the same place here the copy from the device before


def scan_kernel(
    scan: Scan,
    neighbours: Int[Array, " n"],
    m: Float[Array, "r a b"],
    e: Float[Array, "r k v"],
    interpret: Any = False,
) -> Float[Array, "r k v"]:
    """The states that enter, as they travelled. neighbours: place in the line, mesh coordinates of
    the next device, mesh coordinates of the one before."""
    rows, columns = e.shape[0] // scan.blocks.rows, e.shape[2] // scan.blocks.columns
    block = (rows, e.shape[1], columns)
    own = pl.BlockSpec(block, lambda i, j, _: (i, 0, j))
    along_state = not scan.dense and m.shape == e.shape  # elementwise
    beside = own if along_state else pl.BlockSpec((rows, *m.shape[1:]), lambda i, j, _: (i, 0, 0))
    dma = pltpu.SemaphoreType.DMA
    call = pl.pallas_call(
        kernel(scan),
        out_shape=like(e).update(dtype=scan.wire),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=tuple(scan.blocks),
            in_specs=[beside, own],
            out_specs=pl.BlockSpec(memory_space=pltpu.HBM),
            scratch_shapes=list(
                Memory(
                    pltpu.VMEM(block, scan.wire),
                    pltpu.VMEM((SLOTS, *block), scan.wire),
                    dma,
                    dma((SLOTS,)),
                    dma((scan.blocks.count,)),
                )
            ),
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("arbitrary", "arbitrary"), collective_id=scan.number
        ),
        interpret=pltpu.InterpretParams() if interpret is True else interpret,
        name=scan.name,
    )
    return call(neighbours, m, e)


def kernel(scan: Scan) -> Callable[..., None]:
    """The body, for each block of the grid in turn."""

    def body(places: Any, m: Any, e: Any, entering: Any, *scratch: Any) -> None:
        memory = Memory(*scratch)
        step = _step(scan, memory, places, e, entering)
        pl.when(step.number == 0)(lambda: _begin(step, places))
        pl.when(step.first)(lambda: _start_from_nothing(step, memory))
        pl.when(~step.first)(lambda: _receive(step, memory))
        pl.when(~step.last)(lambda: _send(scan, step, memory, m, e))

    return body


def _step(scan: Scan, memory: Memory, places: Any, e: Any, entering: Any) -> Step:
    rows, _, columns = e.shape
    i, j = pl.program_id(0), pl.program_id(1)
    number = i * scan.blocks.columns + j
    here = entering.at[pl.ds(i * rows, rows)]
    if scan.blocks.columns > 1:
        here = here.at[:, :, pl.ds(pl.multiple_of(j * columns, columns), columns)]
    step = Step(
        number, here, places[0] == 0, places[0] == scan.ranks - 1, _devices(places)[0], None
    )
    return step._replace(onward=_from_slot(memory, step, number & 1))


def _from_slot(memory: Memory, step: Step, slot: Any) -> Any:
    """The copy of what leaves from a slot to the block's place on the next device."""
    return pltpu.make_async_remote_copy(
        src_ref=memory.leaving.at[slot],
        dst_ref=step.here,
        send_sem=memory.sent.at[slot],
        recv_sem=memory.received.at[step.number],
        device_id=step.next,
    )


def _devices(places: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Mesh coordinates of the next device and of the one before."""
    last = places.shape[0]
    middle = (1 + last) // 2
    return tuple(places[i] for i in range(1, middle)), tuple(places[i] for i in range(middle, last))


def _begin(step: Step, places: Any) -> None:
    """Tells the device before that its blocks may come, and waits for the next device."""
    begun = pltpu.get_barrier_semaphore()
    before = _devices(places)[1]
    pl.when(~step.first)(lambda: pl.semaphore_signal(begun, device_id=before))
    pl.when(~step.last)(lambda: pl.semaphore_wait(begun, 1))


def _start_from_nothing(step: Step, memory: Memory) -> None:
    memory.arrived[...] = jnp.zeros_like(memory.arrived)
    _copy(memory.arrived, step.here, memory)


def _receive(step: Step, memory: Memory) -> None:
    step.onward.wait_recv()
    pl.when(~step.last)(lambda: _copy(step.here, memory.arrived, memory))


def _copy(source: Any, to: Any, memory: Memory) -> None:
    copy = pltpu.make_async_copy(source, to, memory.copied)
    copy.start()
    copy.wait()


def _send(scan: Scan, step: Step, memory: Memory, m: Any, e: Any) -> None:
    pl.when(step.number >= SLOTS)(step.onward.wait_send)  # what left from this slot before
    _put_together(scan, step, memory, m, e)
    _pass_on(scan, step, memory)


def _put_together(scan: Scan, step: Step, memory: Memory, m: Any, e: Any) -> None:
    """M S + E of the block."""
    state = memory.arrived[...].astype(e.dtype)
    out = _act(scan.dense, m[...], state) + e[...]
    memory.leaving[step.number & 1] = out.astype(memory.leaving.dtype)


def _pass_on(scan: Scan, step: Step, memory: Memory) -> None:
    """To the next device; after the last block it waits until all has left."""
    step.onward.start()

    @pl.when(step.number == scan.blocks.count - 1)
    def _all_left() -> None:
        step.onward.wait_send()
        if scan.blocks.count > 1:
            _from_slot(memory, step, 1 - (step.number & 1)).wait_send()


def _act(dense: bool, m: Any, state: Any) -> Any:
    """M S: a matrix, each of its own shape, or numbers a key or a head [r, 1, k] in a row."""
    if dense:
        return jnp.matmul(m, state, precision="highest")
    return (m if m.shape == state.shape else jnp.swapaxes(m, 1, 2)) * state
