"""Options by which processes find each other; what is wrong with them."""

import argparse
import socket
import time

import jax
import pytest

from jaxlin.cli import _processes
from jaxlin.config.errors import ConfigError
from jaxlin.parallel.join import Group, everywhere, join, refuse_taken_port
from jaxlin.parallel.limit import at_most


def read(*words):
    parser = argparse.ArgumentParser()
    _processes.add(parser)
    return _processes.read(parser.parse_args(words))


ALL = ("--coordinator", "10.0.0.1:8476", "--processes", "4", "--process-id", "3")


def test_without_options_a_process_is_alone():
    assert read() is None


def test_the_options_make_a_group():
    assert read(*ALL) == Group("10.0.0.1:8476", 4, 3)
    assert read("--distributed", "--join-timeout", "7") == Group(timeout=7)


@pytest.mark.parametrize(
    "words, why",
    [
        (ALL[:2], "belong together"),
        (ALL[2:], "belong together"),
        ((*ALL, "--distributed"), "give the one or the other"),
        ((*ALL, "--process-id", "4"), "--process-id: 4 is not among 0 to 3"),
        ((*ALL, "--process-id", "-1"), "--process-id: -1"),
        ((*ALL, "--processes", "0"), "--processes: 0 is below 1"),
        ((*ALL, "--coordinator", "10.0.0.1"), "is not HOST:PORT"),
        ((*ALL, "--coordinator", "10.0.0.1:99999"), "is not HOST:PORT"),
        ((*ALL, "--coordinator", "a b:80"), "is not HOST:PORT"),
        ((*ALL, "--join-timeout", "0"), "--join-timeout: 0"),
    ],
)
def test_refused(words, why):
    with pytest.raises(ConfigError, match=why):
        read(*words)


@pytest.mark.parametrize("address", ["host-1.cluster:1", "[fe80::1]:8476", "localhost:65535"])
def test_addresses(address):
    Group(address, 1, 0)


def test_a_taken_port_is_refused():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of this host cannot be used"):
            refuse_taken_port(f"10.0.0.1:{port}")
    refuse_taken_port(f"10.0.0.1:{port}")


def test_a_process_joins_once(monkeypatch):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(ConfigError, match="has joined the processes of a run before"):
        join(Group("127.0.0.1:8476", 1, 0))


def test_the_command_for_all_workers_has_no_number_of_one():
    found = everywhere(["/bin/jaxlin", "train", "a", "data.paths=a b", *ALL])
    assert "`jaxlin train a 'data.paths=a b'" in found and "--process-id I`" in found


def test_what_takes_too_long_ends_the_process(capsys):
    left = []
    with at_most(0.05, "too late", 2, left.append):
        time.sleep(0.5)
    assert left == [2] and capsys.readouterr().err == "jaxlin: error: too late\n"
    with at_most(60.0, "too late", 2, left.append):
        pass
    assert left == [2]
