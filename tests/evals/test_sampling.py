import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.evals.sampling import kept, knobs, sample
from jaxlin.evals.settings import Sampling

VOCAB = 12


def oracle(scores: np.ndarray, top_k: int | None, top_p: float | None) -> np.ndarray:
    """One row, token by token, float64."""
    ranking = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:top_k]
    p = np.exp(scores.astype(np.float64) - scores.max())
    total, running, keep = p[ranking].sum(), 0.0, np.zeros(len(scores), bool)
    for i in ranking:
        keep[i] = True
        running += p[i] / total
        if top_p is not None and running >= top_p:
            break
    return keep


@pytest.mark.parametrize("top_k", [None, 1, 3, 12, 100])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.5, 0.9, 1.0])
def test_kept_equals_the_oracle(top_k, top_p):
    scores = np.random.default_rng(0).normal(size=(40, VOCAB)).astype(np.float32)
    scores[0] = 0.0  # all equal: ranked by id
    scores[1, 3:] = -np.inf
    found = mask(scores, top_k, top_p)
    if top_p == 0.5:  # ends exactly on the boundary, where float32 and float64 sums may differ
        found, scores = found[1:], scores[1:]
    limit = None if top_p == 1.0 else top_p
    np.testing.assert_array_equal(found, [oracle(row, top_k, limit) for row in scores])


def mask(scores, top_k, top_p):
    k = knobs(Sampling(top_k=top_k, top_p=top_p), VOCAB)
    return np.asarray(kept(jnp.asarray(scores), k.top_k, k.top_p))


def draws(sampling: Sampling, logits: np.ndarray, n: int = 20_000, limit: int = VOCAB):
    k = knobs(sampling, VOCAB)
    one = lambda i: sample(jnp.asarray(logits)[None], limit, sampling.mode, k, i)  # noqa: E731
    return np.asarray(jax.jit(jax.vmap(one))(jnp.arange(n)))[:, 0]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.5, seed=1),
        Sampling(temperature=2.0, top_k=4, seed=2),
        Sampling(temperature=0.7, top_p=0.8, seed=3),
        Sampling(top_k=5, top_p=0.6, seed=2**32 - 1),
    ],
)
def test_frequencies_are_those_of_the_cut_distribution(sampling):
    n = 20_000
    logits = np.random.default_rng(7).normal(size=VOCAB).astype(np.float32)
    scores = logits / np.float32(sampling.temperature)
    keep = oracle(scores, sampling.top_k, sampling.top_p)
    p = np.where(keep, np.exp(scores.astype(np.float64)), 0)
    p /= p.sum()
    frequency = np.bincount(draws(sampling, logits, n), minlength=VOCAB) / n
    assert not frequency[~keep].any()
    # Six standard deviations of a frequency over n draws.
    assert (np.abs(frequency - p) <= 6 * np.sqrt(p * (1 - p) / n)).all()


def test_greedy_takes_the_highest_and_the_first_of_equals():
    logits = np.array([[0, 3, 3, 1], [5, 1, 2, 5]], np.float32)
    k = knobs(Sampling(temperature=0.0), 4)
    assert sample(jnp.asarray(logits), 4, "greedy", k, 0).tolist() == [1, 0]


@pytest.mark.parametrize("temperature", [0.0, 1.0, 50.0])
def test_ids_from_the_limit_on_never_come(temperature):
    logits = np.zeros(VOCAB, np.float32)
    logits[7:] = 100.0
    sampling = Sampling(temperature=temperature)
    assert draws(sampling, logits, 500, limit=7).max() < 7


def test_a_row_does_not_see_who_else_is_in_the_batch():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, VOCAB)).astype(np.float32))
    k = knobs(Sampling(seed=5), VOCAB)
    other = logits.at[1].set(0.0)
    a, b = (sample(x, VOCAB, "free", k, 4) for x in (logits, other))
    assert (a[0], a[2]) == (b[0], b[2])
    assert sample(logits[:1], VOCAB, "free", k, 4)[0] == a[0]


def test_seeds_rows_and_places_draw_differently():
    flat = jnp.zeros((64, VOCAB))
    k = [knobs(Sampling(seed=s), VOCAB) for s in (0, 1)]
    one = np.asarray(sample(flat, VOCAB, "free", k[0], 0))
    assert len(set(one.tolist())) > VOCAB // 2
    assert (one != np.asarray(sample(flat, VOCAB, "free", k[0], 1))).any()
    assert (one != np.asarray(sample(flat, VOCAB, "free", k[1], 0))).any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_a_setting_out_of_range_is_named(field, value):
    with pytest.raises(ConfigError, match=f"{field}: .*{value}"):
        Sampling(**{field: value})
