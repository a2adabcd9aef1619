"""Points by name: nothing without the variable, one thing at one place with it."""

import os
import re
from pathlib import Path

import pytest

import jaxlin.train
from jaxlin.config.errors import ConfigError
from jaxlin.train import faults


@pytest.fixture
def asked(monkeypatch):
    """Sets the variable."""
    return lambda text: monkeypatch.setenv(faults.VARIABLE, text)


def test_without_the_variable_nothing_happens(monkeypatch):
    monkeypatch.delenv(faults.VARIABLE, raising=False)
    faults.check()
    faults.fault("step", lambda: pytest.fail("nothing should be done"))


def test_it_happens_at_the_named_point_the_nth_time_and_once(asked):
    asked("step:raise@3")
    done = []
    for _ in range(2):
        faults.fault("step")
        faults.fault("eval")
    with pytest.raises(RuntimeError, match="at the point 'step'"):
        faults.fault("step", lambda: done.append("before"))
    assert done == ["before"] and faults.VARIABLE not in os.environ
    faults.fault("step")


@pytest.mark.parametrize(
    "text, said",
    [
        ("stap:kill", "no point 'stap'; did you mean 'step'?"),
        ("step:kil", "no action 'kil'; did you mean 'kill'?"),
        ("step", "is not POINT:ACTION"),
        ("step:kill@0", "is not POINT:ACTION"),
        ("step:kill@", "is not POINT:ACTION"),
        ("", "is not POINT:ACTION"),
        ("step:kill@2,end:kill", "is not POINT:ACTION"),
    ],
)
def test_a_wrong_variable_is_refused_with_all_that_is_known(text, said, asked):
    asked(text)
    for look in (faults.check, lambda: faults.fault("end")):
        with pytest.raises(ConfigError) as error:
            look()
        assert said in str(error.value) and "hang" in str(error.value)
        assert all(point in str(error.value) for point in faults.POINTS)


def test_every_point_has_its_place_in_the_code():
    folder = Path(jaxlin.train.__file__).parent
    text = "\n".join(path.read_text() for path in folder.glob("*.py"))
    called = re.findall(r"fault(?:\(|, )\"([a-z.]+)\"(?: if [^)]* else \"([a-z.]+)\")?", text)
    assert {name for pair in called for name in pair if name} == set(faults.POINTS)
