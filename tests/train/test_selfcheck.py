"""What several processes have to have alike; how they are told what differs."""

import json
from pathlib import Path

import jax
import pytest

import jaxlin
from jaxlin.config.errors import ConfigError
from jaxlin.config.presets import preset
from jaxlin.train import selfcheck

COMMAND = ["/usr/bin/jaxlin", "train", "quickstart", "--processes", "3", "--process-id", "1"]
SAME = {"host": "a", "code": "1" * 12, "config": "2" * 12, "jax": "0.12.0", "devices": "4 x TPU"}


def test_alike_is_alike():
    selfcheck.refuse_differences([SAME, {**SAME, "host": "b"}], COMMAND)


@pytest.mark.parametrize("name", [name for name in SAME if name != "host"])
def test_each_difference_names_the_process(name):
    other = {**SAME, "host": "b", name: "other"}
    with pytest.raises(ConfigError) as error:
        selfcheck.refuse_differences([SAME, {**SAME, "host": "c"}, other], COMMAND)
    text = str(error.value)
    assert f"process 2 (b): {name} other instead of {SAME[name]}" in text
    assert "process 1" not in text and "process 0 (a)" in text
    assert "`jaxlin train quickstart --processes 3 --process-id I`" in text


def test_what_only_one_has_is_a_difference():
    other = {**SAME, "libtpu": "1"}
    for pair, what in (
        ([SAME, other], "libtpu 1 instead of None"),
        ([other, SAME], "None instead"),
    ):
        with pytest.raises(ConfigError, match=what):
            selfcheck.refuse_differences(pair, COMMAND)


def test_many_differences_are_cut():
    others = [{**SAME, "host": f"h{i}", "code": f"{i}"} for i in range(100)]
    with pytest.raises(ConfigError, match="and 80 more$"):
        selfcheck.refuse_differences([SAME, *others], COMMAND)


def test_facts_are_words():
    found = selfcheck.facts(preset("quickstart"))
    assert json.loads(json.dumps(found)) == found
    assert found["config"] != selfcheck.facts(preset("tiny"))["config"]


def test_code_is_its_text_and_its_names(tmp_path):
    def digest(**files):
        for path in tmp_path.rglob("*.py"):
            path.unlink()
        for name, text in files.items():
            (tmp_path / "jaxlin").mkdir(exist_ok=True)
            (tmp_path / "jaxlin" / f"{name}.py").write_text(text)
        return selfcheck.code_digest(tmp_path)

    found = [digest(a="x"), digest(a="y"), digest(b="x"), digest(a="x", b="y"), digest()]
    assert len(set(found)) == len(found)
    assert digest(a="x") == found[0]
    assert selfcheck.code_digest(Path(jaxlin.__file__).parent.parent) not in found


def test_every_device_counts_once():
    selfcheck.refuse_wrong_sum(jax.device_count(), selfcheck.sum_over_devices())
    with pytest.raises(ConfigError, match="sum of ones over all 8 devices is 7"):
        selfcheck.refuse_wrong_sum(8, 7)


def test_missing_processes_are_named():
    with pytest.raises(ConfigError, match="--processes: 4 were expected, 1 are there"):
        selfcheck.check(preset("tiny"), 4, COMMAND)


def test_one_process_has_nothing_to_compare():
    selfcheck.check(preset("tiny"), 1, COMMAND)
    selfcheck.check(preset("tiny"), None, COMMAND)
