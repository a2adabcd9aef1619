"""Compiles for TPUs that are not there; tests that use it are marked `aot`.

from tests.kernels_pallas.aot import CHIPS, aot, compile_for

@aot
def test_something():
    compile_for(f, specs, "v5e")
"""

import importlib.util
import os

import pytest

from kernels_pallas.static import CHIPS as CHIPS
from kernels_pallas.static import ENVIRONMENT
from kernels_pallas.static import compile_for as compile_for
from kernels_pallas.static import copies as copies

os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})

MISSING = importlib.util.find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in os.environ


def aot(test):
    """Marks a test, or a parameter's mark list: it needs the TPU compiler, and skips without."""
    reason = "needs the TPU compiler: pip install libtpu"
    return pytest.mark.aot(pytest.mark.skipif(MISSING, reason=reason)(test))
