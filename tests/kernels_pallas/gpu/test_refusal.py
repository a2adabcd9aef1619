"""What the Hopper kernels do not take is refused with the reason."""

from __future__ import annotations

import jax
import pytest

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.delta_rule import pallas_gpu as delta_rule
from kernels_pallas.gpu import support
from kernels_pallas.linear_attention import pallas_gpu as linear_attention
from tests.kernels_pallas.gpu.problems import HOPPER

CALL = Call("delta_rule", 2, 100, 4, 128, 256, "bfloat16", "head", False)


@pytest.mark.parametrize("module", (linear_attention, delta_rule))
def test_refusals(module) -> None:
    def refusal(chip: Chip = HOPPER, **changes) -> str:
        return module.refusal(CALL._replace(**changes), chip)

    assert refusal() == refusal(Chip("gpu", "NVIDIA GH200 480GB")) == ""
    assert "not cpu" in refusal(Chip("cpu", "cpu"))
    assert "not NVIDIA A100" in refusal(Chip("gpu", "NVIDIA A100-SXM4-40GB"))
    assert "not NVIDIA B200" in refusal(Chip("gpu", "NVIDIA B200"))
    assert "not float32" in refusal(dtype="float32")
    assert "k=300" in refusal(k=300) and "v=257" in refusal(v=257)


def test_other_versions_of_jax_are_refused(monkeypatch) -> None:
    for version in ((0, 10, 2), (0, 13, 0)):
        monkeypatch.setattr(jax, "__version_info__", version)
        assert "jax 0.11.2 to 0.12" in support.refusal(CALL, HOPPER)


def test_other_chunks_are_an_error() -> None:
    with pytest.raises(ValueError, match="delta_rule: chunk_size is 32; .* chunks of 64"):
        support.sizes_of(CALL, 32)
    assert support.sizes_of(CALL, 64) == support.sizes_of(CALL, None) == (2, 2, 4, 128, 256)
