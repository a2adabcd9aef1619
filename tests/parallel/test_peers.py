"""A failure of one process as the others see it. (Real ones: tests/faults/test_processes.py.)"""

import time

import jax
import pytest

from jaxlin.config.errors import CheckpointError, DataError, DivergedError, PreemptedError
from jaxlin.parallel import peers, processes
from jaxlin.parallel.peers import Peers, failed, lost_peer, tell, told

GLOO = jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer")


class Service:
    """Stands for the coordination service: keys and values; all come to every barrier."""

    def __init__(self):
        self.said, self.met = {}, []

    def key_value_set(self, key, value, allow_overwrite):
        self.said[key] = value

    def key_value_dir_get(self, folder):
        return [item for item in self.said.items() if item[0].startswith(folder)]

    def wait_at_barrier(self, name, milliseconds):
        self.met.append(name)


@pytest.fixture
def service(monkeypatch):
    found = Service()
    monkeypatch.setattr(processes, "client", lambda: found)
    monkeypatch.setattr(peers, "LOOK", 0.05)
    monkeypatch.setattr(peers, "LAST_WORDS", 0.05)
    return found


@pytest.fixture
def at_exit(monkeypatch):
    calls = []
    monkeypatch.setattr(peers.atexit, "register", lambda *call: calls.append(call))
    return calls


def left():
    """A way to leave that only notes the exit code."""
    codes = []
    return codes, codes.append


def test_alone_nothing_happens():
    codes, leave = left()
    with pytest.raises(ZeroDivisionError), Peers(leave), told():
        raise ZeroDivisionError
    assert codes == [] and lost_peer(GLOO) is None


def test_the_failure_of_another_ends_a_process_that_goes_on(service, capsys):
    codes, leave = left()
    with Peers(leave):
        service.said[f"{peers.FAILED}3"] = "3 no such file"
        end = time.monotonic() + 30
        while not codes:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert codes[0] == 3 and "error: process 3: no such file\n" in capsys.readouterr().err


def test_an_error_is_told_and_the_process_will_not_wait_at_its_end(service, at_exit):
    codes, leave = left()
    with pytest.raises(DataError), Peers(leave), told():
        raise DataError("no such file")
    assert service.said == {f"{peers.FAILED}0": "3 no such file"}
    ((depart, code),) = at_exit
    depart(code)
    assert codes == [3] and service.met == ["jaxlin/departure"]


@pytest.mark.parametrize("kind", [PreemptedError, DivergedError])
def test_what_all_come_to_is_not_told(kind, service, at_exit):
    with pytest.raises(kind), Peers(), told():
        raise kind("all the same")
    assert service.said == {} and at_exit == [] and service.met == ["jaxlin/end"]


def test_at_a_good_end_all_wait_for_all(service):
    with Peers():
        pass
    assert service.met == ["jaxlin/end"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_lost_process_is_said_at_once(service, capsys, at_exit, wrapped):
    """Also where it is the reason of an error of ours."""
    codes, leave = left()
    with pytest.raises((CheckpointError, jax.errors.JaxRuntimeError)), Peers(leave), told():
        if not wrapped:
            raise GLOO
        raise CheckpointError("step 3 could not be saved") from ValueError(str(GLOO))
    assert codes[0] == 75
    assert "another process of the run is gone" in capsys.readouterr().err


def test_of_a_lost_process_its_own_words_are_said(service, capsys, at_exit):
    codes, leave = left()
    service.said[f"{peers.FAILED}1"] = "1 RuntimeError: why"
    with pytest.raises(jax.errors.JaxRuntimeError), Peers(leave):
        raise GLOO
    assert codes[0] == 1 and "process 1: RuntimeError: why" in capsys.readouterr().err


def test_the_own_failure_is_not_that_of_another(service):
    tell(ZeroDivisionError("a"))
    assert service.said == {f"{peers.FAILED}0": "1 ZeroDivisionError: a"} and failed() is None


def test_other_errors_tell_of_no_lost_process(service):
    assert lost_peer(CheckpointError("the barrier reef")) is None
    assert lost_peer(ValueError("shapes differ")) is None
    assert lost_peer(None) is None
