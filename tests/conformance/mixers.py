"""What every mixer promises; each function takes a config and fails if the promise is broken.

A sequence of T tokens is run whole, in pieces with a cache, token by token, and mixed; rows
hold several documents; in bfloat16 and float64. `EVERY` holds for every variant of a kind, `ONCE`
need only be run for one. A user's mixer gets all of it:

    @pytest.mark.parametrize("check", [*EVERY, *ONCE])
    def test_mine(check):
        check(MyConfig(heads=2))

A mixer that asks for rows (`Mixer.rows`) is called with that of the second of three layers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxlin.mixers import build, init_cache, rows
from tests.conformance.variants import WIDTH

B, PIECE = 2, 33  # pieces that no power of two divides
T = 3 * PIECE
# Outputs are of size 1; the bounds of arXiv 2507.06457's check of the six mixers.
FLOAT32, FLOAT64 = 1e-5, 1e-10
# jax.nn.dot_product_attention computes its softmax in float32 whatever it is given.
FLOAT64_BY_KIND = {"softmax": 1e-6}
# Rounded intermediate results on the way from input to output: input, projection, convolution,
# activation, norm, the operands of the op, its output, norm, gate, projection.
ROUNDINGS = 12

ONE = jnp.ones((B, T), jnp.int32)
# Documents of at most PIECE tokens; id 0 is padding on the left.
LENGTHS = ((20, 33, 17, 29), (33, 1, 32, 33))
PACKED = jnp.int32([np.repeat(range(first, first + 4), n) for first, n in enumerate(LENGTHS)])


class Placed(NamedTuple):
    """A mixer with the row of its layer, which it is called with."""

    mixer: Any
    row: Any

    def init(self, *args: Any, **kwargs: Any) -> Any:
        return self.mixer.init(*args, **kwargs, depth=self.row)

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        return self.mixer.apply(*args, **kwargs, depth=self.row)


def placed(config: Any, **settings: Any) -> Any:
    """The mixer, with weights that keep activations of size 1, as the second of three layers."""
    std, layers, key = WIDTH**-0.5, 3, jax.random.key(0)
    mixer = build(config, WIDTH, std=std, out_std=std, **settings)
    parameter = lambda name, init, axes, shape: init(key, (layers, *shape))  # noqa: E731
    with jax.ensure_compile_time_eval():  # it is kept, by whichever trace asks first
        table = rows(config, WIDTH, layers, parameter)
        row = jax.tree.map(lambda a: a[1], table)
    return mixer if table is None else Placed(mixer, row)


@cache
def module(config: Any, dtype: str = "float32") -> Any:
    """The mixer in its place, compiled in `dtype`."""
    return placed(config, dtype=jnp.dtype(dtype))


@cache
def params(config: Any) -> Any:
    """Initial parameters; scales and biases moved off 1 and 0, where mistakes could hide."""
    boxed = module(config).init(
        jax.random.key(0), jnp.zeros((1, 2, WIDTH)), segment_ids=ONE[:1, :2]
    )
    rng = np.random.default_rng(3)

    def move(path: Any, leaf: Any) -> Any:
        free = path[-1].key in ("scale", "bias")
        return leaf + jnp.float32(free * rng.normal(scale=0.3, size=leaf.shape))

    return jax.tree.map_with_path(move, nn.meta.unbox(boxed))


def inputs(seed: int = 0, dtype: Any = jnp.float32) -> jax.Array:
    """Tokens' activations [B, T, WIDTH]."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=(B, T, WIDTH)), dtype)


@cache
def whole(config: Any, dtype: str = "float32") -> Callable[..., jax.Array]:
    """(params, x, segment_ids) -> y, all tokens at once."""
    return jax.jit(lambda p, x, ids: module(config, dtype).apply(p, x, segment_ids=ids)[0])


@cache
def piece(config: Any, dtype: str = "float32") -> Callable[..., tuple[jax.Array, Any]]:
    """(params, cache, x, segment_ids) -> y, cache: a prefill."""
    return jax.jit(lambda p, c, x, ids: module(config, dtype).apply(p, x, segment_ids=ids, cache=c))


@cache
def steps(config: Any, dtype: str = "float32") -> Callable[..., tuple[jax.Array, Any]]:
    """(params, cache, x, segment_ids) -> y, cache: one token after the other."""

    def run(p: Any, c: Any, x: jax.Array, ids: jax.Array) -> tuple[jax.Array, Any]:
        def step(c: Any, token: Any) -> tuple[Any, jax.Array]:
            x, ids = token
            y, c = module(config, dtype).apply(p, x[:, None], segment_ids=ids[:, None], cache=c)
            return c, y[:, 0]

        c, y = jax.lax.scan(step, c, (x.swapaxes(0, 1), ids.T))
        return y.swapaxes(0, 1), c

    return jax.jit(run)


@cache
def gradient(config: Any, dtype: str = "float32") -> Callable[..., Any]:
    """(params, x, segment_ids, w) -> gradient of sum(y * w) by params and x."""

    def total(p: Any, x: jax.Array, ids: jax.Array, w: jax.Array) -> jax.Array:
        y = module(config, dtype).apply(p, x, segment_ids=ids)[0]
        return jnp.sum(y.astype(w.dtype) * w)

    return jax.jit(jax.grad(total, argnums=(0, 1)))


def empty(config: Any, dtype: str = "float32", length: int = T) -> Any:
    return init_cache(config, WIDTH, B, length, jnp.dtype(dtype))


def run(config: Any, how: str, x: jax.Array, ids: jax.Array, dtype: str = "float32") -> jax.Array:
    """All outputs of a run that is cut into pieces (p) and runs of steps (s), such as 'psp'."""
    state, found = empty(config, dtype), []
    for i, way in enumerate(how):
        part = slice(i * PIECE, (i + 1) * PIECE)
        call = {"p": piece, "s": steps}[way](config, dtype)
        y, state = call(params(config), state, x[:, part], ids[:, part])
        found.append(y)
    return jnp.concatenate(found, axis=1)


def close(found: Any, expected: Any, bound: float = FLOAT32) -> None:
    """Equal up to `bound` times the size of the outputs (at least 1)."""
    size = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound * size)


def pieces_and_steps_equal_the_whole(config: Any) -> None:
    x = inputs()
    expected = whole(config)(params(config), x, ONE)
    assert float(jnp.abs(expected).max()) > 0.1  # else the bounds below would be empty
    for how in ("ppp", "sss", "psp", "sps"):
        close(run(config, how, x, ONE), expected)


def pieces_shorter_than_any_window(config: Any) -> None:
    """Prefills of two tokens, shorter than convolutions and windows."""
    x, state = inputs(), empty(config)
    expected = whole(config)(params(config), x, ONE)
    for start in (0, 2, 4):
        part = slice(start, start + 2)
        y, state = piece(config)(params(config), state, x[:, part], ONE[:, part])
        close(y, expected[:, part])
    y, _ = steps(config)(params(config), state, x[:, 6 : 6 + PIECE], ONE[:, :PIECE])
    close(y, expected[:, 6 : 6 + PIECE])


def no_ids_mean_one_document(config: Any) -> None:
    x = inputs()
    expected = whole(config)(params(config), x, ONE)
    close(whole(config)(params(config), x, None), expected)
    state, found = empty(config), []
    for start in (0, PIECE, 2 * PIECE):
        y, state = piece(config)(params(config), state, x[:, start : start + PIECE], None)
        found.append(y)
    close(jnp.concatenate(found, axis=1), expected)


def packed_documents_equal_separate_ones(config: Any) -> None:
    x = inputs()
    packed = whole(config)(params(config), x, PACKED)
    for how in ("ppp", "sps"):
        close(run(config, how, x, PACKED), packed)
    for row, lengths in enumerate(LENGTHS):
        for start, n in zip(np.cumsum((0, *lengths)), lengths, strict=False):
            # A document alone at the start of a row; what follows it there is not looked at.
            alone = jnp.roll(x[row], -start, axis=0)[None, :PIECE].repeat(B, axis=0)
            y, _ = piece(config)(params(config), empty(config), alone, ONE[:, :PIECE])
            close(packed[row, start : start + n], y[0, :n])


def other_documents_and_later_tokens_have_no_gradient(config: Any) -> None:
    x, w = inputs(), inputs(1)
    by_x = lambda ids, w: gradient(config)(params(config), x, ids, w)[1]  # noqa: E731
    for document in range(5):
        own = (PACKED == document)[..., None]
        found = by_x(PACKED, jnp.where(own, w, 0))
        assert not jnp.where(own, 0, found).any(), document
        assert jnp.where(own, found, 0).any(), document
    middle = T // 2
    found = by_x(ONE, w.at[:, :middle].set(0).at[:, middle + 1 :].set(0))
    assert not found[:, middle + 1 :].any()
    assert found[:, middle].any()


def left_padding_leaves_no_trace(config: Any) -> None:
    """Row 0 starts with 5 pads, row 1 with a whole piece of them; pads hold large numbers."""
    x = inputs()
    expected = whole(config)(params(config), x, ONE)
    pads = jnp.int32([5, PIECE])
    ids = (jnp.arange(T) >= pads[:, None]).astype(jnp.int32)
    shifted = jnp.stack([jnp.roll(x[row], n, axis=0) for row, n in enumerate(pads)])
    shifted = jnp.where(ids[..., None] == 0, 1e3 * inputs(1), shifted)
    for found in (
        whole(config)(params(config), shifted, ids),
        run(config, "psp", shifted, ids),
        run(config, "spp", shifted, ids),
    ):
        for row, n in enumerate(pads):
            close(found[row, n:], expected[row, : T - n])


def rows_do_not_meet(config: Any) -> None:
    x, other = inputs(), inputs(1)
    y = whole(config)(params(config), x, PACKED)
    changed = whole(config)(params(config), x.at[1].set(100 * other[1]), PACKED)
    np.testing.assert_array_equal(changed[0], y[0])
    w = other.at[1].set(0)
    assert not gradient(config)(params(config), x, PACKED, w)[1][1].any()
    swapped = whole(config)(params(config), x[::-1], PACKED[::-1])
    close(swapped[::-1], y)


def bfloat16_is_within_its_bound(config: Any) -> None:
    """Inputs and weights moved by half a bfloat16 ulp show what one rounding does to the output.

    A computation with ROUNDINGS rounded intermediates may do that many times as much (they are
    independent, so this is generous by sqrt(ROUNDINGS)).
    """
    rng, p = np.random.default_rng(4), params(config)
    x = inputs(dtype=jnp.bfloat16)
    move = lambda a: a * jnp.float32(1 + 2.0**-9 * rng.uniform(-1, 1, a.shape))  # noqa: E731
    wide = x.astype(jnp.float32)
    expected = whole(config)(p, wide, PACKED)
    unit = rms(whole(config)(jax.tree.map(move, p), move(wide), PACKED) - expected)
    for found in (
        whole(config, "bfloat16")(p, x, PACKED),
        run(config, "psp", x, PACKED, "bfloat16"),
    ):
        assert found.dtype == jnp.bfloat16
        assert 0 < rms(found.astype(jnp.float32) - expected) < ROUNDINGS * unit


def float64_is_within_its_bound(config: Any) -> None:
    """Pieces and steps equal the whole far below float32's resolution."""
    with jax.enable_x64(True):
        x = inputs(dtype=jnp.float64)
        expected = whole(config, "float64")(params(config), x, ONE)
        assert expected.dtype == jnp.float64
        bound = FLOAT64_BY_KIND.get(config.kind, FLOAT64)
        close(run(config, "psp", x, ONE, "float64"), expected, bound)


def extreme_inputs_stay_finite(config: Any) -> None:
    """Zeros, equal tokens, and large ones, in value and gradient."""
    w = inputs(1)
    for x in (0 * w, 0 * w + 1, 1e4 * w):
        y = whole(config)(params(config), x, PACKED)
        grads = gradient(config)(params(config), x, PACKED, w)
        assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves([y, grads]))


def transforms_change_nothing(config: Any) -> None:
    """Eager, vmap over rows, scan over layers, remat: equal to the compiled mixer."""
    mixer, p, x = module(config), params(config), inputs()
    y = whole(config)(p, x, PACKED)
    close(mixer.apply(p, x, segment_ids=PACKED)[0], y)
    one = lambda x, ids: mixer.apply(p, x[None], segment_ids=ids[None])[0][0]  # noqa: E731
    close(jax.jit(jax.vmap(one))(x, PACKED), y)

    def layers(x: jax.Array) -> jax.Array:
        body = lambda x, p: (mixer.apply(p, x, segment_ids=PACKED)[0], None)  # noqa: E731
        return jax.lax.scan(body, x, jax.tree.map(lambda a: jnp.stack([a, a]), p))[0]

    close(jax.jit(layers)(x), whole(config)(p, y, PACKED))

    @partial(jax.checkpoint, policy=jax.checkpoint_policies.nothing_saveable)
    def again(p: Any, x: jax.Array) -> jax.Array:
        return jnp.sum(mixer.apply(p, x, segment_ids=PACKED)[0] * inputs(1))

    expected = gradient(config)(p, x, PACKED, inputs(1))
    jax.tree.map(close, jax.jit(jax.grad(again, argnums=(0, 1)))(p, x), expected)


def the_cache_keeps_its_shapes_and_dtypes(config: Any) -> None:
    for dtype in ("float32", "bfloat16"):
        before = jax.eval_shape(lambda dtype=dtype: empty(config, dtype))
        assert jax.tree.leaves(before), "a mixer that looks back needs a cache"
        for t in (1, 2, T):
            x, ids = jax.ShapeDtypeStruct((B, t, WIDTH), dtype), ONE[:, :t]
            y, after = jax.eval_shape(piece(config, dtype), params(config), before, x, ids)
            assert after == before
            assert y.shape == x.shape and y.dtype == x.dtype


def parameters_are_float32_and_named(config: Any) -> None:
    boxed = jax.eval_shape(
        module(config, "bfloat16").init, jax.random.key(0), jnp.zeros((1, 2, WIDTH), jnp.bfloat16)
    )
    is_box = lambda a: isinstance(a, nn.LogicallyPartitioned)  # noqa: E731
    for path, box in jax.tree.leaves_with_path(boxed, is_leaf=is_box):
        assert is_box(box) and len(box.names) == box.value.ndim, path
        assert box.value.dtype == jnp.float32, path
        assert path[-1].key != "kernel" or any(box.names), path


def rms(x: jax.Array) -> float:
    return float(jnp.sqrt(jnp.mean(x**2)))


EVERY = (
    pieces_and_steps_equal_the_whole,
    pieces_shorter_than_any_window,
    packed_documents_equal_separate_ones,
    other_documents_and_later_tokens_have_no_gradient,
    left_padding_leaves_no_trace,
    bfloat16_is_within_its_bound,
    the_cache_keeps_its_shapes_and_dtypes,
    parameters_are_float32_and_named,
)
ONCE = (
    no_ids_mean_one_document,
    rows_do_not_meet,
    float64_is_within_its_bound,
    extreme_inputs_stay_finite,
    transforms_change_nothing,
)
