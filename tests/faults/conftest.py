"""The uninterrupted run that all others are compared with."""

import pytest

from tests.faults import driver


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """What it leaves; made once."""
    return driver.finish(tmp_path_factory.mktemp("whole") / "run")
