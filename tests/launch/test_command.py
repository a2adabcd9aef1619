"""`jaxlin launch`: what is refused before anything starts, and what is printed."""

import shlex
import socket

import pytest

from jaxlin.cli import launch
from jaxlin.cli.main import main
from jaxlin.launch import local

SLICE = ["--project", "my-project", "--zone", "us-west4-a", "--nfs", "10.0.0.2:/runs"]
IMAGE = ["--image", "gcr.io/p/jaxlin:1", "--nfs", "10.0.0.2:/runs"]


def refused(capsys, words, *parts):
    assert main(["launch", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("jaxlin: error: ") and len(err.splitlines()) <= 2
    for part in parts:
        assert part in err, err


@pytest.mark.parametrize(
    "words, parts",
    [
        (["foo", "quickstart"], ["'foo'", "'local', 'tpu-vm'"]),
        ([], ["ENGINE"]),
        (["local", "quikstart"], ["'quickstart'"]),
        (["local", "-n", "0", "quickstart"], ["-n: 0"]),
        (["local", "--devices-per-process", "0", "quickstart"], ["--devices-per-process: 0"]),
        (["local", "-n", "3", "quickstart"], ["3 processes", "batch: 8", "6 or 9"]),
        (["local", "-n", "2", "quickstart", "mesh.fsdp=4"], ["2 devices", "mesh.fsdp"[:4]]),
        (
            ["local", "-n", "2", "quickstart", "mesh.data=1", "mesh.allow_unused_devices=true"],
            ["takes 1 of 2 devices", "start 1 processes"],
        ),
        (["tpu-vm", "quickstart"], ["--project"]),
        (["tpu-vm", "quickstart", "batch=16", *SLICE[:4]], ["--nfs: missing"]),
        (["queued", "quickstart", *SLICE, "--topology", "v5e:4x5"], ["no slice 4x5"]),
        (["queued", "quickstart", *SLICE, "mesh.seq=3"], ["v5e:4x4", "must divide 16"]),
        (["gke", "quickstart", *SLICE], ["--image"]),
        (["gke", "quickstart", *IMAGE, "batch=16", "--name", "a b"], ["--name: 'a b'"]),
        (["gke", "quickstart", *IMAGE, "batch=16", "--run", "runs/a"], ["/mnt/jaxlin"]),
        (["slurm", "quickstart", "--nodes", "0"], ["--nodes: 0"]),
        (["slurm", "quickstart", "--nodes", "8", "mesh.tensor=128"], ["64 devices"]),
        (["skypilot", "quickstart", "--nodes", "8"], ["--bucket: missing"]),
    ],
)
def test_refused(capsys, words, parts):
    refused(capsys, words, *parts)


@pytest.mark.parametrize("engine", launch.ENGINES)
def test_an_engine_has_an_example_and_it_is_accepted(engine, capsys, monkeypatch):
    """What the help shows is printed, or would be started."""
    with pytest.raises(SystemExit):
        main(["launch", engine, "--help"])
    example = launch.EXAMPLES[engine]
    assert f"\n  jaxlin launch {example}" in capsys.readouterr().out
    monkeypatch.setattr(local, "run", lambda commands, *_: 0 if len(commands) == 4 else 1)
    assert main(["launch", *shlex.split(example)]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", launch.EXAMPLE.splitlines())
def test_the_examples_of_launch_are_accepted(line, capsys, monkeypatch):
    monkeypatch.setattr(local, "run", lambda *_: 0)
    command = line.strip().partition(" | ")[0]
    assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err


def test_a_taken_port_is_refused(capsys):
    with socket.socket() as taken:
        taken.bind((local.HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = ["local", "quickstart", "--port", port]
        refused(capsys, words, f"--port: {port} cannot be used")


def test_nothing_starts_in_the_directory_of_another_run(capsys, tmp_path):
    (tmp_path / "a").touch()
    words = ["local", "quickstart", "--run", str(tmp_path)]
    refused(capsys, words, "exists and is no run directory")


@pytest.mark.parametrize(
    "words, pipe",
    [
        (["tpu-vm", *SLICE], "> quickstart.sh && bash quickstart.sh"),
        (["queued", *SLICE], "> quickstart.sh && bash quickstart.sh"),
        (["gke", *IMAGE], "| kubectl apply -f -"),
        (["slurm", "--nodes", "2"], "| sbatch"),
        (
            ["skypilot", "--nodes", "2", "--bucket", "s3://runs"],
            "> quickstart.yaml && sky jobs launch quickstart.yaml",
        ),
    ],
)
def test_printed_not_run(capsys, monkeypatch, words, pipe):
    """The overrides may stand anywhere."""
    engine, *options = words
    monkeypatch.setattr("sys.argv", ["jaxlin", "launch", engine, "quickstart", *options])
    assert main(["launch", engine, "quickstart", *options, "batch=16", "--print"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "jaxlin" in out and "batch=16" in out
    assert main(["launch", engine, "batch=16", *options, "quickstart"]) == 0
    again, err = capsys.readouterr()
    assert again.replace("batch=16 quickstart", "quickstart batch=16").count("\n") == out.count(
        "\n"
    )
    assert "nothing was run" in err and err.endswith(f"--print {pipe}\n")
    shlex.split(err.splitlines()[1])
