"""Cases for softmax attention over split sequences, and the function on one device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from kernels_pallas.exchange import softmax_attention_across


class Case(NamedTuple):
    """Arrays of the whole sequence; `segments`: documents that end inside slices and at borders."""

    method: str
    ranks: int
    segments: bool = False
    window: int | None = None
    b: int = 2
    slice: int = 6
    h: int = 8
    g: int = 4
    k: int = 4
    v: int = 4
    dtype: str = "float32"
    seed: int = 0

    @property
    def t(self) -> int:
        return self.ranks * self.slice

    def arrays(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """q, k, v and the cotangent of the outputs."""
        rng = np.random.default_rng([self.t, self.seed])
        normal = lambda h, n: rng.normal(size=(self.b, self.t, h, n)).astype(np.float32)  # noqa: E731
        x = {"q": normal(self.h, self.k), "k": normal(self.g, self.k), "v": normal(self.g, self.v)}
        return x, normal(self.h, self.v)

    def ids(self) -> np.ndarray | None:
        """Borders at 3 and at the second slice for even rows; at 1 and the last token for odd."""
        if not self.segments:
            return None
        at = [[3, self.slice], [1, self.t - 1]]
        place = np.arange(self.t)
        rows = [np.searchsorted(at[row % 2], place, side="right") for row in range(self.b)]
        return np.stack(rows).astype(np.int32)


class Split(NamedTuple):
    """Mesh axes that time, batch, heads of queries and heads of keys are split over."""

    time: Any = "seq"
    batch: str | None = None
    heads: str | None = None
    kv_heads: str | None = None


def line_of(ranks: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:ranks]), ("seq",))


def across(case: Case, mesh: Mesh, split: Split = Split()) -> Callable[..., jax.Array]:  # noqa: B008
    """(q, k, v, ids) of the whole sequence -> outputs."""

    def local(q: Any, k: Any, v: Any, ids: Any) -> Any:
        return softmax_attention_across(
            *(q, k, v),
            axis=split.time,
            method=case.method,
            segment_ids=ids,
            window=case.window,
        )

    queries = P(split.batch, split.time, split.heads)
    keys = P(split.batch, split.time, split.kv_heads)
    ids = P(split.batch, split.time) if case.segments else None
    return jax.shard_map(
        local, mesh=mesh, in_specs=(queries, keys, keys, ids), out_specs=queries, check_vma=True
    )


def one_device(q: Any, k: Any, v: Any, ids: Any, window: int | None) -> jax.Array:
    mask = None if ids is None else (ids[:, :, None] == ids[:, None, :])[:, None]
    size = None if window is None else (window - 1, 0)
    return jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=True, local_window_size=size)


def with_gradients(run: Callable[..., jax.Array]) -> Callable[..., dict[str, jax.Array]]:
    """(q, k, v, cotangent, ids) -> outputs and gradients."""

    def both(q: Any, k: Any, v: Any, cotangent: Any, ids: Any) -> dict[str, jax.Array]:
        outputs, pull = jax.vjp(lambda q, k, v: run(q, k, v, ids), q, k, v)
        return dict(zip(("outputs", "d_q", "d_k", "d_v"), (outputs, *pull(cotangent)), strict=True))

    return both


def found(case: Case, mesh: Mesh | None = None, split: Split = Split()) -> dict:  # noqa: B008
    run = across(case, mesh or line_of(case.ranks), split)
    return _run(case, run, case.dtype)


def wanted(case: Case) -> dict[str, np.ndarray]:
    """In float32, of the inputs as `found` sees them."""
    return _wanted(case._replace(method="", ranks=1, slice=case.t), case.ranks)


@functools.cache
def _wanted(case: Case, ranks: int) -> dict[str, np.ndarray]:
    whole = case._replace(ranks=ranks, slice=case.t // ranks)
    return _run(whole, lambda q, k, v, ids: one_device(q, k, v, ids, case.window), "float32")


def _run(case: Case, run: Callable[..., jax.Array], dtype: str) -> dict[str, np.ndarray]:
    arrays, cotangent = case.arrays()
    q, k, v, cotangent = (
        jnp.asarray(x, case.dtype).astype(dtype) for x in (*arrays.values(), cotangent)
    )
    ids = case.ids()
    results = jax.jit(with_gradients(run))(q, k, v, cotangent, None if ids is None else ids)
    return {n: np.asarray(x, np.float32) for n, x in jax.block_until_ready(results).items()}


def distances(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest errors, relative to the largest entry (as they are where all are zero)."""
    sizes = {n: np.abs(x).max() or 1.0 for n, x in wanted.items()}
    return {n: float(np.abs(found[n] - x).max() / sizes[n]) for n, x in wanted.items()}


def assert_close(found: dict, wanted: dict, bound: float = 1e-6) -> None:
    for name, x in wanted.items():
        assert found[name].shape == x.shape
    worst = distances(found, wanted)
    assert max(worst.values()) < bound, worst
