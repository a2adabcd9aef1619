"""Bad calls: each is refused with the op, the argument, what was found and what is wanted."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import kernels_pallas as kp
from kernels_pallas.exchange import Exchange, exchange, halo

B, T, H, K, V, D = 2, 6, 3, 4, 5, 3
F32 = jnp.float32
ROWS = {"q": jnp.ones((B, T, H, K)), "k": jnp.ones((B, T, H, K)), "v": jnp.ones((B, T, H, V))}
GOOD = {
    "linear_attention": ROWS,
    "delta_rule": ROWS | {"beta": jnp.ones((B, T, H))},
    "linear_recurrence": {"x": jnp.ones((B, T, D)), "log_decay": -jnp.ones((B, T, D))},
}
SUMMARIES: dict[str, Callable[..., Any]] = {
    "linear_attention": kp.linear_attention_summary,
    "delta_rule": kp.delta_rule_summary,
    "linear_recurrence": kp.linear_recurrence_summary,
}


def ones(*shape: int, dtype: Any = F32) -> jax.Array:
    return jnp.ones(shape, dtype)


def gates(shape: tuple[int, ...], value: float) -> jax.Array:
    """Log decays of -1, and one of `value`."""
    return jnp.full(shape, -1.0).at[(0,) * len(shape)].set(value)


# argument: (value, words of the message)
HEADS: list[tuple[str, Any, str]] = [
    ("q", ones(B, T, K), r"q \[b t h k\] has shape \(2, 6, 4\); wanted \(any, any, any, any\); ba"),
    ("q", ones(B, T, 2 * H, K), r"k .* has shape \(2, 6, 3, 4\); wanted \(2, 6, 6, 4\); .*jnp.rep"),
    ("q", ones(B, 0, H, K), r"k .*\(2, 6, 3, 4\); wanted \(2, 0, 3, 4\)"),
    ("q", [[1.0]], r"q \[b t h k\] is a list; wanted an array"),
    ("q", ones(B, T, H, K + 1), r"k \[b t h k\] has shape \(2, 6, 3, 4\); wanted \(2, 6, 3, 5\)"),
    (
        "k",
        ones(B, T, 1, K),
        r"k .*\(2, 6, 1, 4\); wanted \(2, 6, 3, 4\); as q; repeat grouped",
    ),
    ("k", ones(B, T, H, K, dtype=jnp.int32), r"k \(2, 6, 3, 4\) has dtype int32; wanted bfloat16,"),
    ("v", ones(B, T - 1, H, V), r"v .*\(2, 5, 3, 5\); wanted \(2, 6, 3, any\)"),
    ("v", ones(B, T, H), r"v .*\(2, 6, 3\); wanted \(2, 6, 3, any\)"),
    ("v", ones(B, T, H, 0), r"every axis needs at least one entry; .*v \(2, 6, 3, 0\)"),
    ("v", ones(B, T, H, V, dtype=bool), r"v .*has dtype bool; wanted .* float64: convert it"),
    ("v", ones(B, T, H, V, dtype=jnp.complex64), r"v .*has dtype complex64; wanted"),
    ("v", ones(B, T, H, V, dtype=jnp.float8_e4m3fn), r"v .*has dtype float8_e4m3fn; wanted"),
    (
        "initial_state",
        ones(B, H, V, K),
        r"initial_state .*\(2, 3, 5, 4\); wanted \(2, 3, 4, 5\)",
    ),
    ("initial_state", ones(B, H, K, V, dtype=jnp.int8), r"initial_state .*has dtype int8"),
    (
        "segment_ids",
        ones(B, T + 1, dtype=jnp.int32),
        r"segment_ids .*\(2, 7\); wanted \(2, 6\)",
    ),
    ("segment_ids", ones(B, T), r"segment_ids \(2, 6\) has dtype float32; wanted integers"),
    ("log_decay", ones(T, H), r"log_decay has shape \(6, 3\); wanted \[h\] \(3,\), .*or None"),
    ("log_decay", -0.5, r"log_decay \[...\] is a float; wanted an array"),
    ("log_decay", ones(H, dtype=jnp.int32), r"log_decay \(3,\) has dtype int32"),
    ("log_decay", gates((H,), 0.5), r"log_decay \(3,\) reaches 0.5; wanted values <= 0: it is the"),
    ("log_decay", gates((B, T, H), 1e-30), r"log_decay \(2, 6, 3\) reaches 1e-30; .*log_sigmoid"),
    ("log_decay", gates((B, T, H, K), jnp.nan), r"log_decay \(2, 6, 3, 4\) reaches nan"),
    ("scale", "x", r"scale is x; wanted a finite number, known before tracing"),
    ("scale", ones(H), r"scale is \[1. 1. 1.\]; wanted a finite number, known before tracing"),
    ("scale", float("inf"), r"scale is inf; wanted a finite number, known before tracing"),
]
EVERY: list[tuple[str, Any, str]] = [
    ("chunk_size", 12, "chunk_size is 12; wanted a power of two, such as 64"),
    ("chunk_size", 0, "chunk_size is 0; wanted a power of two"),
    ("chunk_size", -4, "chunk_size is -4; wanted a power of two"),
    ("implementation", "xlaa", "no implementation is called 'xlaa'; did you mean 'xla'?"),
    ("implementation", "triton", "no implementation is called 'triton'; known: reference, xla"),
    ("implementation", "pallas_tpu", "'pallas_tpu' cannot run: .*; what can: reference, xla"),
    ("implementation", "pallas_gpu", "'pallas_gpu' cannot run: .*; what can: reference, xla"),
]
DELTA: list[tuple[str, Any, str]] = [
    ("beta", ones(B, T), r"beta \[b t h\] has shape \(2, 6\); wanted \(2, 6, 3\); one write"),
    ("beta", ones(B, T, H, 1), r"beta .*\(2, 6, 3, 1\); wanted \(2, 6, 3\)"),
    ("beta", ones(B, T, H, dtype=jnp.int32), r"beta \(2, 6, 3\) has dtype int32"),
    ("beta", 0.5, r"beta \[b t h\] is a float; wanted an array"),
]
CHANNELS: list[tuple[str, Any, str]] = [
    ("x", ones(B, T), r"x \[b t d\] has shape \(2, 6\); wanted \(any, any, any\); batch, time, ch"),
    ("x", ones(B, T, 0), r"every axis needs at least one entry; x \(2, 6, 0\)"),
    ("x", ones(B, T, D, dtype=jnp.int32), r"x \(2, 6, 3\) has dtype int32; wanted bfloat16"),
    ("log_decay", ones(B, T, D + 1), r"log_decay .*\(2, 6, 4\); wanted \(2, 6, 3\); as x"),
    ("log_decay", ones(D), r"log_decay .*\(3,\); wanted \(2, 6, 3\)"),
    ("log_decay", ones(B, T, D, dtype=jnp.int32), r"log_decay \(2, 6, 3\) has dtype int32"),
    ("log_decay", gates((B, T, D), 2.0), r"log_decay \(2, 6, 3\) reaches 2; wanted values <= 0"),
    ("log_decay", gates((B, T, D), jnp.nan), r"log_decay \(2, 6, 3\) reaches nan; wanted values"),
    ("log_decay", None, r"log_decay \[b t d\] is a NoneType; wanted an array"),
    ("initial_state", ones(B, D + 1), r"initial_state .*\(2, 4\); wanted \(2, 3\)"),
    ("initial_state", ones(B, D, dtype=jnp.int32), r"initial_state \(2, 3\) has dtype int32"),
    ("segment_ids", ones(T, B, dtype=jnp.int32), r"segment_ids .*\(6, 2\); wanted \(2, 6\)"),
    ("segment_ids", ones(B, T, dtype=bool), r"segment_ids \(2, 6\) has dtype bool; wanted integer"),
]
BAD = [(op, *bad) for op in ("linear_attention", "delta_rule") for bad in [*HEADS, *EVERY]]
BAD += [("delta_rule", *bad) for bad in DELTA]
BAD += [("linear_recurrence", *bad) for bad in [*CHANNELS, *EVERY]]


@pytest.fixture(autouse=True)
def as_users_call() -> Iterator[None]:
    """Without the tests' own shape checks, which would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(("op", "name", "value", "message"), BAD)
def test_a_bad_call(op: str, name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{op}: .*{message}") as caught:
        getattr(kp, op)(**(GOOD[op] | {name: value}))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, kp.ImplementationError) == (name == "implementation")


@pytest.mark.parametrize(
    ("op", "name", "value", "message"),
    [bad for bad in BAD if bad[1] not in ("q", "initial_state", "scale", "implementation")],
)
def test_a_bad_summary(op: str, name: str, value: Any, message: str) -> None:
    arguments = {n: x for n, x in GOOD[op].items() if n != "q"} | {name: value}
    with pytest.raises(ValueError, match=f"^{op}: "):
        SUMMARIES[op](**arguments)


@pytest.mark.parametrize("op", GOOD)
def test_what_is_odd_but_allowed(op: str) -> None:
    """NumPy arrays, gates that are shut, write strengths beyond 2, float16."""
    run, arguments = getattr(kp, op), {n: np.asarray(x) for n, x in GOOD[op].items()}
    assert all(np.isfinite(x).all() for x in run(**arguments))
    shut = np.full((B, T, H), -np.inf, np.float32)
    odd = {"log_decay": shut} | ({"beta": np.full(shut.shape, 3.0)} if op == "delta_rule" else {})
    assert all(np.isfinite(x).all() for x in run(**arguments | odd))
    short = {n: x.astype(np.float16) for n, x in arguments.items()}
    outputs, state = run(**short)
    assert outputs.dtype == np.float16 and state.dtype == np.float32


def decayed(op: str, log_decay: jax.Array) -> jax.Array:
    return getattr(kp, op)(**GOOD[op] | {"log_decay": log_decay})[0].sum()


TRACED: dict[str, Callable[..., Any]] = {
    "jit": jax.jit,
    "grad": jax.grad,
    "vmap": lambda f: lambda x: jax.vmap(f)(x[None]),
    "jit of grad": lambda f: jax.jit(jax.grad(f)),
    "checkpoint": lambda f: jax.jit(jax.grad(jax.checkpoint(f))),
}


@pytest.mark.parametrize("how", TRACED)
@pytest.mark.parametrize("op", GOOD)
def test_traced_log_decays_are_looked_at_only_with_debug_nans(op: str, how: str) -> None:
    above = gates((B, T, H), 0.5)
    run = TRACED[how](lambda x: decayed(op, x))
    assert np.isfinite(jax.block_until_ready(run(above))).all()
    run = TRACED[how](lambda x: decayed(op, x))
    with jax.debug_nans(True):
        with pytest.raises(Exception, match="reaches 0.5; wanted values <= 0"):
            jax.block_until_ready(run(above))
            jax.effects_barrier()
        jax.block_until_ready(run(-above * above))


def test_a_constant_inside_jit_is_looked_at() -> None:
    above = gates((B, T, H), 0.5)
    with pytest.raises(ValueError, match="reaches 0.5"):
        jax.jit(lambda: decayed("linear_attention", above))()


def test_a_traced_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="^linear_attention: scale is .*known before tracing"):
        jax.jit(lambda s: kp.linear_attention(**ROWS, scale=s))(1.0)


@pytest.mark.parametrize(
    ("summary", "how", "message"),
    [
        ((None, ones(B, H, K, V)), Exchange(), "summary is a tuple; wanted a Summary"),
        (kp.Summary(ones(B, H), ones(B, H, K, V)), "ring", r"how is 'ring'; .* Exchange\('ring'\)"),
        (
            kp.Summary(ones(B, H), ones(B, H, K, V)),
            Exchange("ring", 8),
            "factors is 8; wanted whole",
        ),  # pyright: ignore
    ],
)
def test_a_bad_exchange(summary: Any, how: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^exchange: {message}"):
        exchange(summary, "seq", how)


def test_an_axis_that_is_a_number() -> None:
    with pytest.raises(ValueError, match=r"^axis is 3; wanted a mesh axis, or a tuple of them"):
        halo(ones(B, T, D), 3, "seq")  # pyright: ignore
