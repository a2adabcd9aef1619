"""Settings of all tests: eight forced CPU devices, shape checks at call time, a compile cache."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile much and compute little; flags from outside come last and win.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true "
    # Eight devices on two busy cores: a collective may wait longer than the 40 s of the default.
    "--xla_cpu_collective_call_terminate_timeout_seconds=300 " + os.environ.get("XLA_FLAGS", "")
)

from jaxtyping import install_import_hook  # noqa: E402

# Must run before the packages are first imported: every annotated array is then checked.
install_import_hook(["kernels_pallas", "jaxlin"], "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402

CACHE = Path(__file__).parent.parent / ".cache" / "jax"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for name in ("slow", "long"):
        if not config.getoption(f"--{name}"):
            skip = pytest.mark.skip(reason=f"{name}: run with --{name}")
            for item in items:
                if item.get_closest_marker(name):
                    item.add_marker(skip)


MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs() -> Iterator[None]:
    """Every compiled program maps memory, and Linux allows a process 65,530 maps: where there are
    many, those of earlier modules are dropped."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
