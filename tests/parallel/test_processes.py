"""What processes say to each other; with one there is nobody to say it to. (Several are started in
tests/faults/test_processes.py.)"""

import pytest

from jaxlin.config.errors import CheckpointError, ConfigError, DataError, JaxlinError
from jaxlin.parallel import processes


def test_alone():
    processes.meet("a")
    assert processes.is_first()
    assert processes.all_say("a", "x") == ["x"]
    assert processes.first_says("a", lambda: "y") == "y"


def test_alone_an_error_is_the_own_one():
    error = DataError("no text")
    with pytest.raises(DataError) as raised:
        with processes.together("a"):
            raise error
    assert raised.value is error
    with pytest.raises(ZeroDivisionError):
        with processes.together("a"):
            raise ZeroDivisionError


class Others:
    """Stands for the coordination service: the others have said this."""

    def __init__(self, said):
        self.said = said

    def key_value_set(self, key, value, allow_overwrite):
        self.said[key] = value

    def blocking_key_value_get(self, key, milliseconds):
        return self.said[key]

    def wait_at_barrier(self, name, milliseconds):
        pass

    def key_value_delete(self, key):
        del self.said[key]


@pytest.fixture
def others(monkeypatch):
    """Two other processes, which say what is put here."""
    said = {}
    monkeypatch.setattr(processes, "client", lambda: Others(said))
    monkeypatch.setattr(processes.jax, "process_count", lambda: 3)
    return said


def test_all_are_heard_in_order(others):
    others |= {"jaxlin/a/1": "=one", "jaxlin/a/2": "="}
    assert processes.all_say("a", "zero") == ["zero", "one", ""]
    assert "jaxlin/a/0" not in others


def test_the_error_of_another_is_raised_here(others):
    others |= {"jaxlin/job/1": "=", "jaxlin/job/2": "=3 no such file: a b"}
    with pytest.raises(DataError, match="^process 2: no such file: a b$"):
        with processes.together("job"):
            pass


def test_of_several_errors_that_of_the_lowest_is_raised(others):
    others |= {"jaxlin/job/1": "=3 mine", "jaxlin/job/2": "=4 other"}
    own = ConfigError("own")
    with pytest.raises(ConfigError) as raised:
        with processes.together("job"):
            raise own
    assert raised.value is own
    with pytest.raises(DataError, match="process 1: mine"):
        with processes.together("job"):
            pass


def test_errors_keep_their_exit_code():
    for kind in (ConfigError, DataError, CheckpointError):
        found = processes.error_of(f"{kind.exit_code} a: b", 7)
        assert type(found) is kind and str(found) == "process 7: a: b"
    assert type(processes.error_of("99 a", 0)) is JaxlinError
