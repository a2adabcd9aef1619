"""The GPU benchmark without a GPU: the whole path, and peers that fail."""

import sys
import time
from pathlib import Path

import gpu
import numpy as np
import pytest
import roofline
from cases import Calls, Shape, draw, largest_error, rounded
from workers import Lost, Worker

from tests.benchmarks.scripts import run

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


@pytest.mark.slow
def test_dry_run(tmp_path: Path) -> None:
    options = "--dry-run --ops gated_delta --peers xla cudnn --seconds 0".split()
    found, printed = run("gpu.py", tmp_path / "out.json", *options)
    told = {(check["op"], check["form"]): check for check in found["checks"]}
    assert told["gated_delta", "xla"]["right"]
    assert not told["softmax", "cudnn"]["right"] and "cuDNN" in told["softmax", "cudnn"]["told"]
    rows = [(row["table"], row["form"], row["t"]) for row in found["rows"]]
    assert rows == [("grid", "xla", 64), ("lengths", "xla", 64), ("lengths", "xla", 256)]
    assert all(row["both_ms"] > 0 and row["tflops"] > 0 for row in found["rows"])
    assert "softmax, cudnn: " in printed and "left out" in printed


def test_the_first_rows_are_the_grid_s_first_shape_for_all_ops() -> None:
    rows = list(gpu.plan(gpu.parser().parse_args([])))
    ops = ["gated_delta", "gla", "retention", "delta", "softmax"]
    assert [(row.op, row.shape) for row in rows[:5]] == [(op, gpu.GRID[0]) for op in ops]
    assert [row.shape.t for row in rows[5:11]] == [4**i for i in range(5, 11)]
    assert len({(row.table, row.op, row.shape) for row in rows}) == len(rows)
    assert {row.shape for row in rows if row.table == "grid"} == set(gpu.GRID)


def ask(worker: Worker, seconds: float = 30) -> dict:
    answers = gpu.ask_all({"it": worker}, {"do": "anything"}, time.monotonic() + seconds)
    return answers["it"]


def test_a_worker_answers() -> None:
    worker = Worker([sys.executable, "-c", ECHO], {})
    assert ask(worker) == ask(worker) == {"do": "anything"}
    worker.stop()


def test_a_worker_that_dies_says_why_and_is_started_again() -> None:
    worker = Worker([sys.executable, "-c", "input(); raise SystemExit('out of memory')"], {}, 2)
    for _ in range(2):
        assert ask(worker) == {"problem": "died (exit status 1): out of memory"}
    assert ask(worker) == {"problem": "died too often"}


def test_a_worker_that_hangs_is_killed() -> None:
    worker = Worker([sys.executable, "-c", "input(); import time; time.sleep(100)"], {})
    worker.send({})
    process = worker.process
    with pytest.raises(Lost, match="no answer in time"):
        worker.receive(time.monotonic() + 0.5)
    assert process is not None and process.poll() is not None


def test_a_wrong_peer_is_told_from_a_right_one() -> None:
    arrays = draw("linear", Shape(1, 4, 1, 2, 2))
    right = arrays["v"], {"q": arrays["q"]}

    def peer(error: float) -> tuple[float, str]:
        both = lambda: (arrays["v"], {"q": arrays["q"] + np.float32(error)})  # noqa: E731
        return largest_error(Calls(lambda: arrays["v"], both, lambda x: None, np.asarray), right)

    assert peer(0)[0] == 0
    error, where = peer(0.1)
    assert error > 0.02 and where == "d q"
    assert peer(float("nan")) == (float("inf"), "d q")


def test_bfloat16_holds_rounded_inputs() -> None:
    arrays = rounded(draw("gla", Shape(1, 8, 1, 4, 4)), "bfloat16")
    assert np.all(arrays["q"].view(np.uint32) & 0xFFFF == 0)
    assert np.any(arrays["log_decay"].view(np.uint32) & 0xFFFF)


def test_roofline() -> None:
    """By hand: one token, one head, k=2, v=3."""
    one = Shape(1, 1, 1, 2, 3)
    assert roofline.flops("gla", one, both=False) == 4 * 2 * 3
    assert roofline.flops("gated_delta", one, both=True) == 3 * 6 * 2 * 3
    assert roofline.flops("softmax", one._replace(t=4), both=False) == 4 * 4 * 5
    assert roofline.moved("delta", one, False, 2) == 2 * (2 + 2 + 3 + 1 + 3)
    assert roofline.moved("gla", one, True, 2) == 3 * (2 * 7 + 4 * 2) + 2 * (2 * 3)
    chip = roofline.chip("NVIDIA H100 80GB HBM3")
    assert chip and roofline.share(chip, chip.flops, 0, 2000, "bfloat16") == 0.5
    assert roofline.chip("cpu") is None
