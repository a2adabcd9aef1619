"""`jaxlin params`: exact numbers for any preset, without making an array."""

import json
import subprocess
import sys

import pytest

from jaxlin.cli.main import main
from jaxlin.config.guard import RING

TINY = ["params", "tiny", "model.pattern=full"]


def report(capsys, *words):
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_counts_are_exact(capsys):
    found = report(capsys, *TINY)
    d, hidden, layers, vocab = 32, 64, 4, 384  # 257 ids of bytes, rounded up to 128s
    expected = layers * (4 * d * d + 3 * d * hidden + 2 * d) + 2 * vocab * d + d
    assert found["parameters"] == found["trained"] == expected
    assert found["bytes"] == 4 * expected
    assert sum(row["count"] for row in found["rows"]) == expected
    guard = 4 * (5 + RING)
    # p, mu, nu; counts
    assert found["training_state_bytes_per_device"] == 3 * 4 * expected + 3 * 4 + guard


def test_state_bytes_follow_the_context(capsys):
    short, long = (report(capsys, *TINY, "--context", n) for n in ("100", "1100"))
    grown = long["state_bytes_per_sequence"] - short["state_bytes_per_sequence"]
    # Of each token and layer: key and value in float32, document id and index in int32.
    assert grown == 1000 * 4 * (2 * 32 * 4 + 2 * 4)


def test_the_table_shows_split_group_and_decay(capsys):
    assert main([*TINY, "optim=muon", "--mesh", "data=2,fsdp=2,tensor=2"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = [line for line in lines if line and line[0].endswith("mixer/q/kernel")]
    assert row[1:] == ["4x32x32", "layers,embed,heads", "float32", "4,096", "-,fsdp,tensor",
                       "muon", "yes"]  # fmt: skip
    (row,) = [line for line in lines if line and line[0] == "final_norm/scale"]
    assert row[-3:] == ["-", "adamw", "no"]


def test_adapters_and_the_frozen_base(capsys):
    words = [r"adapters.0=lora(rank=2,at='blocks/\d+/mixer/q')"]
    found = report(capsys, *TINY, *words)
    assert found["trained"] == 4 * 2 * 32 * 2
    assert {r["optimizer"] for r in found["rows"]} == {"frozen", "adamw"}


@pytest.mark.parametrize(
    "words, said",
    [
        (["--mesh", "fsdp=3"], "batch: 4 is no multiple of 3"),
        (["--mesh", "tensor=4"], "mesh.tensor: 4 does not divide heads=2"),
        (["--mesh", "fspd=2"], "fspd"),
        (["--context", "0"], "--context"),
        (["--also", "model.mixer='gla"], "no closing quotation; close it"),
        (["--match", ""], "--match: '' is no measure"),
    ],
)
def test_bad_input_is_refused(words, said, capsys):
    assert main([*TINY, *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_several_models_that_match(capsys):
    words = ["params", "tiny", "--also", "model.pattern=full", "--match", "parameters"]
    found = report(capsys, *words, "--tolerance", "0.05", "--context", "32")
    first, second = found["models"]
    solved = found["match"][1]
    assert solved["target"] == first["parameters"]["total"]
    assert solved["measure"] == second["parameters"]["total"]
    assert abs(solved["measure"] / solved["target"] - 1) <= 0.05
    assert main([*words, "--tolerance", "1e-9"]) == 2
    said = capsys.readouterr().err
    assert "cannot be given parameters" in said and "--tolerance" in said


def test_the_table_has_flops_and_bytes(capsys):
    assert main([*TINY, "--context", "32"]) == 0
    out = capsys.readouterr().out
    d, hidden, vocab = 32, 64, 384
    forward = 4 * (8 * d * d + 4 * 32 * d + 6 * d * hidden) + 2 * d * vocab
    (row,) = [line for line in out.splitlines() if line.startswith("FLOPs a token, forward")]
    assert row.split()[-1] == f"{forward:,}"
    assert out.rstrip().endswith("layers: 0-3 softmax")


def test_a_model_far_too_big_for_this_machine():
    """With 8 GiB of address space: any array of this model would end the process."""
    d, hidden, layers, vocab = 16384, 53248, 64, 256000
    words = f"""model.width={d} model.layers={layers} model.vocab={vocab} model.ffn.hidden={hidden}
        model.attention.heads=128 --mesh data=2,fsdp=128 batch=256""".split()
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))\n"
        f"from jaxlin.cli.main import main; raise SystemExit(main({[*TINY, *words]!r}))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    expected = layers * (4 * d * d + 3 * d * hidden + 2 * d) + 2 * vocab * d + d
    assert f"parameters      {expected:,} (" in result.stdout
