import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.errors import DataError
from jaxlin.config.model import Loss
from jaxlin.config.run import Mesh
from jaxlin.data.batch import Batch
from jaxlin.evals.perplexity import evaluate, figures, measure
from jaxlin.parallel import mesh as meshes
from tests.evals.tiny import VOCAB, tiny

BYTES = np.append(np.ones(256, np.int32), np.zeros(16, np.int32))


class Fixed(nn.Module):
    """A model whose scores [vocab] do not depend on the text."""

    scores: tuple[float, ...]

    def __call__(self, tokens, segment_ids, positions):
        return tokens, None

    def cross_entropy(self, hidden, targets, chunk):
        scores = jnp.array(self.scores)
        lse = jnp.full(targets.shape, jax.nn.logsumexp(scores))
        return lse - scores[targets], lse


def batch(targets, weights=None, positions=None):
    targets = np.array(targets, np.int32)
    place = np.broadcast_to(np.arange(targets.shape[1], dtype=np.int32), targets.shape)
    return Batch(
        tokens=np.zeros_like(targets),
        targets=targets,
        segment_ids=np.ones_like(targets),
        positions=place if positions is None else np.array(positions, np.int32),
        weights=np.ones(targets.shape, np.float32) if weights is None else np.float32(weights),
    )


def test_uniform_logits_cost_log2_of_the_vocabulary_a_token():
    model = Fixed((0.7,) * VOCAB)
    found = evaluate(model, {}, [batch([[1, 2, 3], [4, 5, 6]])], Loss(), BYTES, words=3)
    # float32 rounding of a value near 5.6
    assert found["loss"] == pytest.approx(math.log(VOCAB), rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(math.log2(VOCAB), rel=1e-6)
    assert found["loss_per_word"] == pytest.approx(2 * math.log(VOCAB), rel=1e-6)
    assert (found["tokens"], found["bytes"], found["words"]) == (6, 6, 3)


def test_bits_per_byte_of_a_two_token_stream_by_hand():
    # p(0) = 3/4 stands for two bytes, p(1) = 1/4 is a separator without any.
    model = Fixed((math.log(3), 0.0))
    stream = [batch([[0, 0, 1, 0]])]
    found = evaluate(model, {}, stream, Loss(), np.array([2, 0], np.int32))
    bits = 3 * math.log2(4 / 3) + 2
    assert found["bits_per_byte"] == pytest.approx(bits / 6, rel=1e-6)
    assert found["loss"] == pytest.approx(bits * math.log(2) / 4, rel=1e-6)
    assert found["bytes"] == 6 and found["tokens"] == 4
    assert found["loss_per_word"] is None


def test_targets_of_weight_zero_count_nowhere():
    model = Fixed((math.log(3), 0.0))
    padded = [batch([[0, 1, 1], [1, 1, 1]], weights=[[1, 0, 0], [0, 0, 0]])]
    found = evaluate(model, {}, padded, Loss(), np.array([1, 1], np.int32))
    assert found["loss"] == pytest.approx(math.log(4 / 3), rel=1e-6)
    assert found["tokens"] == found["bytes"] == 1


def test_loss_by_position_is_that_of_the_place_in_the_document():
    model = Fixed((math.log(3), 0.0))
    rare, common = math.log(4), math.log(4 / 3)
    stream = [batch([[1, 0, 0, 0, 1, 0]], positions=[[0, 1, 2, 3, 0, 1]])] * 2
    totals = measure(model, {}, stream, Loss(), np.array([1, 1], np.int32))
    assert totals.tokens.tolist() == [4, 4, 2, 2, 0, 0]
    np.testing.assert_allclose(
        totals.nll, [4 * rare, 4 * common, 2 * common, 2 * common, 0, 0], 1e-6
    )
    ranges = figures(totals)["by_position"]
    assert [(r["first"], r["last"], r["tokens"]) for r in ranges] == [
        (1, 1, 4),
        (2, 3, 6),
        (4, 6, 2),
    ]
    losses = [r["loss"] for r in ranges]
    assert losses == pytest.approx([rare, common, common], rel=1e-6)


def test_ranges_of_positions_hold_every_token():
    for t in (1, 2, 3, 8, 9):
        totals = measure(Fixed((0.0, 0.0)), {}, [batch([[0] * t])], Loss(), np.array([1, 1]))
        ranges = figures(totals)["by_position"]
        assert sum(r["tokens"] for r in ranges) == t
        assert ranges[-1]["last"] == t


def test_no_target_is_an_error():
    for stream in ([], [batch([[0]], weights=[[0]])]):
        with pytest.raises(DataError, match="held-out"):
            evaluate(Fixed((0.0, 0.0)), {}, stream, Loss(), np.array([1, 1]))


def text(rows=4, t=12):
    targets = np.random.default_rng(0).integers(0, 256, (rows, t + 1))
    whole = batch(targets[:, 1:])
    return whole._replace(tokens=np.int32(targets[:, :-1]))


def test_a_real_model_equals_the_softmax_of_its_logits():
    model, variables = tiny()
    b = text()
    hidden, _ = model.apply(variables, *map(jnp.asarray, (b.tokens, b.segment_ids, b.positions)))
    logits = np.float64(model.apply(variables, hidden, method="logits"))
    picked = np.take_along_axis(logits, b.targets[..., None], -1)[..., 0]
    nll = np.logaddexp.reduce(logits, axis=-1) - picked
    found = evaluate(model, variables, [b], Loss(chunk=8), BYTES)
    assert found["loss"] == pytest.approx(nll.mean(), rel=1e-6)


def test_a_mesh_gives_the_same_figures():
    model, variables = tiny()
    mesh = meshes.make(Mesh(data=2, fsdp=2), jax.devices()[:4])
    alone = evaluate(model, variables, [text()], Loss(), BYTES)
    split = evaluate(model, variables, [text()], Loss(), BYTES, mesh)
    assert split["loss"] == pytest.approx(alone["loss"], rel=1e-6)
    assert split["bytes"] == alone["bytes"]
