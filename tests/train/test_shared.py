"""All processes have to see the directory that the first one writes to."""

import pytest

from jaxlin.config.errors import CheckpointError
from jaxlin.parallel import processes
from jaxlin.train import shared
from jaxlin.train.lock import Lock


def says(monkeypatch, token):
    monkeypatch.setattr(processes, "first_says", lambda name, text: token or text())


def test_the_same_directory(tmp_path, monkeypatch):
    says(monkeypatch, None)
    with Lock(tmp_path / "run"):
        shared.check(tmp_path / "run")


def test_another_directory_is_refused(tmp_path, monkeypatch):
    says(monkeypatch, "of another host")
    now = iter(range(100))
    with Lock(tmp_path / "run"), pytest.raises(CheckpointError, match="that all hosts share"):
        shared.check(tmp_path / "run", 5.0, lambda: float(next(now)), lambda seconds: None)
    assert next(now) < 20


def test_a_file_system_that_is_late_is_waited_for(tmp_path, monkeypatch):
    with Lock(tmp_path / "a"):
        text = (tmp_path / "a" / "run.lock").read_text()
        says(monkeypatch, shared._token(tmp_path / "a"))
        (tmp_path / "b").mkdir()
        shared.check(
            tmp_path / "b", sleep=lambda _: (tmp_path / "b" / "run.lock").write_text(text) and None
        )
