"""Wrong arguments are refused with the argument, its shape and the wanted one."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import kernels_pallas as kp
from kernels_pallas.shapes import accumulation_dtype, resets_of

Q, V = jnp.zeros((2, 6, 3, 4)), jnp.zeros((2, 6, 3, 5))
HEADS = {"q": Q, "k": Q, "v": V}
OPS = {
    "linear_attention": (kp.linear_attention, HEADS),
    "delta_rule": (kp.delta_rule, HEADS | {"beta": jnp.zeros((2, 6, 3))}),
    "linear_recurrence": (
        kp.linear_recurrence,
        {"x": jnp.zeros((2, 6, 3)), "log_decay": jnp.zeros((2, 6, 3))},
    ),
}
WRONG = {
    "k": (
        jnp.zeros((2, 6, 3, 7)),
        r"k \[b t h k\] has shape \(2, 6, 3, 7\); wanted \(2, 6, 3, 4\)",
    ),
    "v": (jnp.zeros((2, 5, 3, 5)), r"v .*\(2, 5, 3, 5\); wanted \(2, 6, 3, any\)"),
    "initial_state": (jnp.zeros((2, 3, 4, 4)), r"initial_state .*wanted \(2, 3, 4, 5\)"),
    "segment_ids": (jnp.zeros((2, 7), int), r"segment_ids .*\(2, 7\); wanted \(2, 6\)"),
    "log_decay": (jnp.zeros((6, 3)), r"log_decay has shape \(6, 3\); wanted \[h\] \(3,\)"),
    "chunk_size": (12, r"chunk_size is 12; wanted a power of two"),
}
WRONG_CHANNELS = {
    "log_decay": (jnp.zeros((2, 6, 4)), r"log_decay \[b t d\] .*\(2, 6, 4\); wanted \(2, 6, 3\)"),
    "initial_state": (jnp.zeros((2, 4)), r"initial_state \[b d\] .*wanted \(2, 3\)"),
    "segment_ids": (jnp.zeros((2, 7), int), r"segment_ids .*\(2, 7\); wanted \(2, 6\)"),
    "chunk_size": (0, r"chunk_size is 0; wanted a power of two"),
}
MISTAKES = [(op, name, *WRONG[name]) for op in ("linear_attention", "delta_rule") for name in WRONG]
MISTAKES += [("linear_recurrence", name, *mistake) for name, mistake in WRONG_CHANNELS.items()]
MISTAKES += [("delta_rule", "beta", jnp.zeros((2, 6)), r"beta .*\(2, 6\); wanted \(2, 6, 3\)")]


@pytest.fixture
def as_users_call() -> Iterator[None]:
    """Without the tests' own shape checks, which would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(("op", "name", "value", "message"), MISTAKES)
def test_mistakes(op: str, name: str, value: object, message: str, as_users_call: None) -> None:
    run, arguments = OPS[op]
    with pytest.raises(ValueError, match=f"^{op}: {message}"):
        run(**(arguments | {name: value}))


def test_no_tokens_are_refused(as_users_call: None) -> None:
    with pytest.raises(ValueError, match="every axis needs at least one entry"):
        kp.linear_attention(Q[:, :0], Q[:, :0], V[:, :0])


def test_accumulation_dtype() -> None:
    short = jnp.zeros(1, jnp.bfloat16)
    assert accumulation_dtype(short, short) == jnp.float32
    with jax.enable_x64(True):
        assert accumulation_dtype(short, jnp.zeros(1, np.float64)) == jnp.float64


def test_resets_are_changes_and_never_the_first_token() -> None:
    ids = jnp.asarray([[7, 7, 1, 1, 7], [0, 1, 2, 2, 2]])
    wanted = [[False, False, True, False, True], [False, True, True, False, False]]
    np.testing.assert_array_equal(resets_of(ids), wanted)
    assert resets_of(None) is None
