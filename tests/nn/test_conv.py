"""The short convolution against a loop over tokens, cut anywhere, packed anyhow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.nn import ShortConv, short_conv

RNG = np.random.default_rng(0)


def by_hand(x, kernel, ids):
    """y_t = sum_j kernel_j x_{t-(w-1)+j} over tokens of t's document, float64."""
    y = np.zeros_like(x)
    width = len(kernel)
    for row in range(x.shape[0]):
        for t in range(x.shape[1]):
            for j in range(width):
                source = t - (width - 1) + j
                if source >= 0 and ids[row, source] == ids[row, t]:
                    y[row, t] += kernel[j] * x[row, source]
    return y


@pytest.mark.parametrize("width", [1, 2, 4, 9])
@pytest.mark.parametrize("packed", [False, True])
def test_equals_a_loop(width, packed):
    x, kernel = RNG.normal(size=(2, 7, 3)), RNG.normal(size=(width, 3))
    ids = (
        np.array([[1, 1, 1, 2, 3, 3, 3], [0, 0, 1, 1, 1, 1, 2]]) if packed else np.ones((2, 7), int)
    )
    y = short_conv(jnp.float32(x), jnp.float32(kernel), jnp.int32(ids) if packed else None)
    # A sum of `width` products of numbers below ~4: a few float32 roundings of each.
    np.testing.assert_allclose(y, by_hand(x, kernel, ids), atol=2e-6)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("cut", [1, 2, 5])
@pytest.mark.parametrize("known", ["exactly the tail", "more than the tail"])
def test_continues_from_a_tail(width, cut, known):
    x, kernel = jnp.float32(RNG.normal(size=(2, 7, 3))), jnp.float32(RNG.normal(size=(width, 3)))
    ids = jnp.int32([[1, 1, 1, 2, 3, 3, 3], [1, 1, 1, 1, 1, 1, 2]])
    before = jnp.pad(x, ((0, 0), (width - 1, 0), (0, 0)))[:, cut : cut + width - 1]
    kept = width - 1 if known == "exactly the tail" else width + 1
    before_ids = jnp.pad(ids, ((0, 0), (kept, 0)), constant_values=-1)[:, cut : cut + kept]
    y = short_conv(x[:, cut:], kernel, ids[:, cut:], before, before_ids)
    np.testing.assert_array_equal(y, short_conv(x, kernel, ids)[:, cut:])


def test_bfloat16_is_summed_in_float32():
    kernel = jnp.float32([[1.0], [2.0**-9]])
    x = jnp.bfloat16([[[2.0**-9], [1.0], [1.0]]])
    # 2^-9 + 2^-9 survives; rounding each term's sum to bfloat16 would lose 1 * 2^-9 against 1.
    y = short_conv(x, kernel)
    np.testing.assert_array_equal(y[0, :, 0], jnp.bfloat16([2.0**-18, 2.0**-8, 1.0 + 2.0**-9]))
    wide = short_conv(jnp.bfloat16([[[1.0]] * 4]), jnp.full((4, 1), 1 / 3, jnp.float32))
    assert wide[0, -1, 0] == jnp.bfloat16(4 / 3)
    assert wide.dtype == jnp.bfloat16


def test_module_names_and_scale_of_the_kernel():
    module = ShortConv(4, axis="heads", std=0.02)
    variables = module.init(jax.random.key(0), jnp.zeros((1, 5, 3000)))
    kernel = variables["params"]["kernel"]
    assert kernel.names == ("conv", "heads")
    assert kernel.value.shape == (4, 3000) and kernel.value.dtype == jnp.float32
    assert abs(float(kernel.value.std()) / 0.02 - 1) < 4 * (2 * kernel.value.size) ** -0.5


def test_module_takes_a_tail():
    module = ShortConv(3)
    x = jnp.float32(RNG.normal(size=(1, 4, 2)))
    variables = module.init(jax.random.key(0), x)
    ids = jnp.ones((1, 4), jnp.int32)
    whole = module.apply(variables, x, ids)
    rest = module.apply(variables, x[:, 2:], ids[:, 2:], x[:, :2], ids[:, :2])
    np.testing.assert_array_equal(rest, whole[:, 2:])
