"""What the report says of an exchange along the sequence."""

from jaxlin.config.exchange import Exchange
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.model import LM
from jaxlin.config.run import Mesh, RunConfig
from jaxlin.parallel.planner import plan_exchange
from kernels_pallas.exchange.all_scan_cut import of_state
from kernels_pallas.exchange.traffic import State
from kernels_pallas.hardware import CHIPS

MESH = {"data": 1, "fsdp": 1, "seq": 64, "tensor": 1}
V5P, H100 = "TPU v5", "NVIDIA H100 80GB HBM3"
STATE = State(2 * 4, 64, 128, "key")  # of GLA: two sequences, four heads
BYTES = 8 * 64 * 128 * 4


def planned(kind: str, mixer=None, **exchange):
    cfg = RunConfig(
        name="x",
        batch=2,
        context=4096,
        model=LM(width=512, pattern="mixer", mixer=mixer or GLA(heads=4)),
        mesh=Mesh(seq=64, exchange=Exchange(**exchange)),
    )
    (row,) = plan_exchange(cfg, MESH, kind)
    return row


def test_all_scan_is_told_with_its_blocks_and_a_prediction():
    """One state each way, whatever the devices; what auto would take stands beside it."""
    count, seconds = of_state(STATE, 64, CHIPS[V5P], None)
    row = planned(V5P, method="all_scan")
    assert (row.kind, row.method) == ("gla", f"all_scan {count} blocks") and count > 1
    assert row.bytes == 2 * BYTES
    assert row.reason.startswith(f"{2e3 * seconds:.2f} ms a layer predicted, not measured; set by")
    assert "auto would take hierarchical: 64 ranks on v5p" in row.reason


def test_all_scan_of_rounded_states_and_of_a_delta_rule():
    assert planned(V5P, method="all_scan", wire="bfloat16").bytes == BYTES
    mixer = GatedDeltaNet(heads=4, head_dim=64)
    wide, rounded = (
        planned(V5P, mixer, method="all_scan", wire=wire) for wire in ("float32", "bfloat16")
    )
    assert wide == rounded  # states of a delta rule are never rounded


def test_all_scan_on_a_chip_without_a_model_has_no_prediction():
    row = planned(H100, method="all_scan")
    assert (row.method, row.bytes) == ("all_scan", 2 * BYTES)
    assert row.reason.startswith("set by mesh.exchange.method; auto would take hierarchical: no")


def test_auto_tells_its_levels_and_bytes_with_the_decays():
    """A gather for each dimension of 4 x 4 x 4; decays of 8 heads' 64 keys fill 4 rows of 128."""
    row = planned(V5P)
    assert row.method == "hierarchical 4x4x4"
    assert row.bytes == 9 * (BYTES + 4 * 128 * 4) + 9 * BYTES
