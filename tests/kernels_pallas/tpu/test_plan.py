"""Blocks of the TPU kernels: what is refused, and what gives way to fit a chip."""

import pytest

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.tpu import plan

CALL = Call("linear_attention", 2, 4096, 8, 128, 128, "bfloat16", "key", False)
CHIPS = [Chip("tpu", kind) for kind in plan.VMEM]


@pytest.mark.parametrize("chip", CHIPS)
def test_ordinary_calls_are_taken(chip: Chip) -> None:
    assert plan.refusal(CALL, chip) == ""


@pytest.mark.parametrize(
    ("call", "chip", "why"),
    [
        (CALL, Chip("cpu", "cpu"), "needs a TPU, and this is a cpu"),
        (CALL, Chip("tpu", "TPU v4"), "TPU v5 lite.*and this is a TPU v4"),
        (CALL._replace(dtype="float64"), CHIPS[0], "float64"),
        (CALL._replace(k=257), CHIPS[0], "k to 256 .*they are 257 and 128"),
        (CALL._replace(v=513), CHIPS[0], "v to 512.*they are 128 and 513"),
    ],
)
def test_refusals_say_why(call: Call, chip: Chip, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        raise ValueError(plan.refusal(call, chip))


@pytest.mark.parametrize("size", (1, 8, 48, 256))
def test_chunks_that_do_not_fit(size: int) -> None:
    with pytest.raises(ValueError, match=f"chunk_size is {size}; on TPU a chunk has 16, 32, 64"):
        plan.blocks(CALL, CHIPS[0], size)


def test_a_short_sequence_has_a_short_chunk() -> None:
    assert plan.blocks(CALL._replace(t=20), CHIPS[0], None)[0].chunk_size == 32
    assert plan.blocks(CALL._replace(t=1), CHIPS[0], 64)[0].chunk_size == 16


@pytest.mark.parametrize("h", range(1, 14))
def test_heads_of_a_step_divide_the_heads(h: int) -> None:
    found, _ = plan.blocks(CALL._replace(h=h, k=256, v=256, dtype="float32"), CHIPS[-1], None)
    assert h % found.heads == 0


def test_fewer_heads_where_memory_is_small() -> None:
    wide = CALL._replace(k=256, v=512, dtype="float32")
    small, large = (plan.blocks(wide, chip, None)[0] for chip in (CHIPS[-1], CHIPS[0]))
    assert small.heads < large.heads
    for chip, found in ((CHIPS[-1], small), (CHIPS[0], large)):
        assert plan.vmem_bytes(wide, found) <= plan.limit(chip)


@pytest.mark.parametrize("chip", CHIPS)
def test_candidates_fit(chip: Chip) -> None:
    found = plan.candidates(CALL, chip)
    assert found
    for one in found:
        blocks = plan.Blocks(**one)
        assert plan.vmem_bytes(CALL, blocks) <= plan.limit(chip)
        assert CALL.h % blocks.heads == 0
