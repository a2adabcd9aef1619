"""The harness's requests: sums of the model's own log likelihoods, in any company."""

import json
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.run import Mesh
from jaxlin.config.sources.task import Task
from jaxlin.data import feed
from jaxlin.data.tokenizer import ByteTokenizer
from jaxlin.evals import harness
from jaxlin.evals.bridge import Bridge, settings
from jaxlin.evals.likelihood import rolling
from jaxlin.parallel.mesh import make
from tests.evals.tiny import HYBRID, tiny

BYTES, MOST = ByteTokenizer(), 64
PAIRS = [
    ("the question", " one"),
    ("the question", " another answer"),
    ("", "no context"),
    ("ends with blanks  ", "x"),
    ("long " * 20, "cut at the front"),
]


def bridge(rows=2, mesh=None):
    model, variables = tiny(HYBRID)
    return Bridge(model, variables, BYTES, rows=rows, most=MOST, mesh=mesh)


def requests(*args):
    return [SimpleNamespace(args=each) for each in args]


@jax.jit
def log_p(variables, ids):
    """[t, vocab] of the tokens that follow each of ids."""
    model, _ = tiny(HYBRID)
    hidden, _ = model.apply(variables, ids[None])
    return jax.nn.log_softmax(model.apply(variables, hidden, method="logits")[0])


def by_hand(context, continuation):
    """One token after the other; ids are padded behind, which a causal model does not see."""
    _, variables = tiny(HYBRID)
    ids = [256, *(context + continuation).encode()]
    scored = len(continuation.encode())
    ids = ids[-(MOST + 1) :]
    table = np.asarray(log_p(variables, jnp.array(ids + [0] * (MOST + 1 - len(ids)))), np.float64)
    at = range(len(ids) - 1 - scored, len(ids) - 1)
    total = sum(table[i, ids[i + 1]] for i in at)
    return total, all(table[i].argmax() == ids[i + 1] for i in at)


def test_sums_of_per_token_log_likelihoods():
    found = bridge().loglikelihood(requests(*PAIRS))
    for (context, continuation), (total, greedy) in zip(PAIRS, found, strict=True):
        kept = context.rstrip()
        expected, best = by_hand(kept, context[len(kept) :] + continuation)
        assert total == pytest.approx(expected, rel=1e-5) and greedy == best
        assert type(total) is float and type(greedy) is bool


def test_what_greedy_decoding_writes_is_greedy():
    b = bridge()
    (text,) = b.generate_until(requests(("some text", {"until": ["\x00\x00"], "max_gen_toks": 4})))
    ids = BYTES.encode(text).tolist()
    # The text of random bytes is no UTF-8 everywhere; its certain beginning is.
    whole = text[: text.index("\ufffd")] if "\ufffd" in text else text
    assert ids and len(ids) <= 3 * 4
    if whole:
        (greedy,) = b.loglikelihood(requests(("some text", whole)))
        assert greedy[1] and greedy[0] > -4 * math.log(272)


def test_order_and_neighbours_make_no_difference():
    b = bridge()
    found = b.loglikelihood(requests(*PAIRS))
    turned = b.loglikelihood(requests(*PAIRS[::-1]))[::-1]
    assert [g for _, g in found] == [g for _, g in turned]
    assert [p for p, _ in found] == pytest.approx([p for p, _ in turned], rel=1e-6)
    assert found == b.loglikelihood(requests(*PAIRS))


def test_on_a_mesh():
    mesh = make(Mesh(data=2, allow_unused_devices=True))
    alone, spread = (bridge(2, m).loglikelihood(requests(*PAIRS[:2])) for m in (None, mesh))
    assert [p for p, _ in alone] == pytest.approx([p for p, _ in spread], rel=1e-5)


def test_rolling_scores_each_token_once():
    assert rolling([1, 2, 3, 4, 5], 9, 2) == [([9], [1, 2]), ([2], [3, 4]), ([4], [5])]
    text = "a document of its own, " * 5
    (total,) = bridge().loglikelihood_rolling(requests((text,)))
    ids = [256, *text.encode()]
    _, variables = tiny(HYBRID)
    expected = 0.0
    for first in range(0, len(ids) - 1, MOST):
        part = ids[first : first + MOST + 1]
        table = log_p(variables, jnp.array(part + [0] * (MOST + 1 - len(part))))
        expected += sum(float(table[i, part[i + 1]]) for i in range(len(part) - 1))
    assert total == pytest.approx(expected, rel=1e-5)


def test_settings_of_a_request():
    assert settings({"until": "\n", "max_gen_toks": 5}) == (("\n",), 5, 0.0)
    assert settings({"until": ["a", ""], "temperature": 0.7}) == (("a",), 256, 0.0)
    assert settings({"do_sample": True, "temperature": 0.7}) == ((), 256, 0.7)


def test_a_run_on_a_task_has_no_words():
    model, variables = tiny(HYBRID)
    with pytest.raises(ConfigError, match="--lm-eval: its tasks are written in words"):
        Bridge(model, variables, feed.load(Task()).tokenizer, rows=1, most=8)


def test_names():
    assert harness.named("piqa, arc_easy") == ["piqa", "arc_easy"]
    assert harness.named("zero_shot") == list(harness.ZERO_SHOT) and len(harness.ZERO_SHOT) == 6
    with pytest.raises(ConfigError, match="names no task"):
        harness.named(" ,")


def test_the_lm_score_is_the_mean_of_six():
    results = {name: {"acc": i / 5} for i, name in enumerate(harness.ZERO_SHOT)}
    assert harness.lm_score(results) == pytest.approx(0.5)
    assert harness.lm_score({"piqa": {"acc": 1.0}}) is None
    assert harness.numbers({"acc,none": 0.5, "acc_stderr,none": 0.1, "alias": "x"}) == {"acc": 0.5}


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'jaxlin\[eval\]'"):
        harness.run(bridge(), ["piqa"])


TASK = """
task: letters
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{label}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


@pytest.mark.filterwarnings("ignore")
def test_the_harness_runs_a_task_of_ones_own(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    b = bridge()
    rows = [{"question": f"Letter {c}:", "choices": [" a", " longer b"]} for c in "xyzuvw"]
    scores = [b.loglikelihood(requests(*((r["question"], c) for c in r["choices"]))) for r in rows]
    best = [int(np.argmax([total for total, _ in pair])) for pair in scores]
    for i, row in enumerate(rows):
        row["label"] = best[i] if i < 4 else 1 - best[i]
    (tmp_path / "letters.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "letters.yaml").write_text(TASK.format(data=tmp_path / "letters.jsonl"))
    found = harness.run(b, ["letters"], folder=tmp_path)
    assert found["letters"]["acc"] == pytest.approx(4 / 6) and "acc_norm" in found["letters"]
    with pytest.raises(ConfigError, match="'leters' is no task of the harness; did you mean"):
        harness.run(b, ["leters"], folder=tmp_path)
