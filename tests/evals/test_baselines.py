"""Baselines against a plain implementation of the same equations, and known limits."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from jaxlin.evals.baselines import baselines, byte_model


def plain(train: bytes, text: bytes, order: int) -> float:
    """Witten-Bell by dictionaries, one byte at a time."""
    counts: dict[bytes, Counter] = defaultdict(Counter)
    for k in range(order + 1):
        for i in range(len(train) - k):
            counts[train[i : i + k]][train[i + k]] += 1

    def probability(context: bytes, byte: int) -> float:
        lower = probability(context[1:], byte) if context else 1 / 256
        seen = counts.get(context)
        if not seen:
            return lower
        return (seen[byte] + len(seen) * lower) / (seen.total() + len(seen))

    bits = [-math.log2(probability(text[max(0, i - order) : i], text[i])) for i in range(len(text))]
    return sum(bits) / len(bits)


def words(seed: int, count: int) -> bytes:
    rng = np.random.default_rng(seed)
    return b" ".join(rng.choice([b"the", b"cat", b"sat", b"\xff\x00", b"mat"], count).tolist())


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("held", [words(1, 200), b"cat", b"ca", b"zzzzzz"])
def test_byte_models_equal_the_plain_form(order, held):
    train = words(0, 300)
    assert byte_model(train, held, order=order) == pytest.approx(
        plain(train, held, order), abs=1e-12
    )


@pytest.mark.parametrize("train", [b"", b"a", b"ab"])
def test_short_training_text(train):
    assert byte_model(train, b"abab", order=3) == pytest.approx(plain(train, b"abab", 3), abs=1e-12)


def test_without_training_text_a_byte_costs_eight_bits():
    assert byte_model(b"", b"abc", order=3) == 8.0


def test_probabilities_add_up_to_one():
    train, context = words(0, 300), b"cat the ca"
    cost = byte_model(train, context, order=3) * len(context)
    bits = [
        byte_model(train, context + bytes([x]), order=3) * (len(context) + 1) - cost
        for x in range(256)
    ]
    assert sum(2.0**-b for b in bits) == pytest.approx(1.0, abs=1e-9)


def test_the_table():
    train, held = [words(0, 3000)], [words(1, 2000), words(2, 2000)]
    got = baselines(train, held)
    assert list(got) == ["order-0 bytes", "order-3 bytes", "zlib -9", "lzma"]
    assert got == baselines(train, held)
    # The words are random: none can get below log2(5) bits a word of 3.8 bytes on average.
    assert all(math.log2(5) / 3.8 < bits < 8 for bits in got.values())
    assert got["order-3 bytes"] < got["order-0 bytes"]


def test_nothing_held_out_and_too_long_a_context():
    with pytest.raises(ValueError, match="no held-out bytes"):
        baselines([b"a"], [])
    with pytest.raises(ValueError, match="order is 4"):
        byte_model(b"a", b"a", order=4)
