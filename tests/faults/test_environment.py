"""F: odd folders, locales and streams change nothing; no network is ever asked for."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jaxlin.cli.main import main
from jaxlin.cli.train import default_folder
from jaxlin.config.load import override
from jaxlin.config.presets import preset
from jaxlin.train.records import read_metrics
from tests.conftest import CACHE
from tests.faults.refusals import TINY, listing, refused

ROOT = Path(__file__).parents[2]
TEXT = "".join(f"line {i} is {i * i} long, and an é\n" for i in range(60))
CACHED = {
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
}

# Runs commands with every way to a network shut; tells what was asked for and what came out.
CHILD = """
import importlib, json, os, pkgutil, sys
asked = []
def shut(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        asked.append([event, repr(args[1:])])
        raise OSError("there is no network")
sys.addaudithook(shut)
import configs, jaxlin, kernels_pallas
for package in (kernels_pallas, jaxlin, configs) if "control" not in sys.argv else ():
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(info.name)
if "control" in sys.argv:
    import socket
    try: socket.create_connection(("127.0.0.1", 9))
    except OSError: pass
from jaxlin.cli.main import main
codes = [main(words) for words in json.loads(sys.argv[1])]
files = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
sockets = [x for x in files if os.path.islink(x) and "socket" in os.readlink(x)]
with open("told.json", "w") as file:
    json.dump({"asked": asked, "codes": codes, "sockets": sockets}, file)
"""
ODD = {
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "C",
    "LANG": "tr_TR.UTF-8",
    "PYTHONHASHSEED": "12345",
    "PYTHONIOENCODING": "ascii",
}


def child(folder, commands, *more, environment, drop=()):
    """What the child told; its own files lie in `folder`, where it runs."""
    inherited = {k: v for k, v in os.environ.items() if k not in drop}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(commands), *more],
        cwd=folder,
        env={**inherited, **CACHED, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        umask=0o077,
        timeout=300,
    )
    assert (folder / "told.json").exists(), done.stderr.decode(errors="replace")
    return {**json.loads((folder / "told.json").read_text()), "out": done.stdout}


def losses(run):
    return [(r["kind"], r["step"], r["loss"]) for r in read_metrics(run) if "loss" in r]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """A run in the usual environment, in a folder of its own; its data is named relatively."""
    folder = tmp_path_factory.mktemp("usual")
    (folder / "a.txt").write_text(TEXT, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *WORDS]) == 0
    (run,) = (folder / "runs").iterdir()
    return run


WORDS = [*TINY, "data=text", "data.paths=a.txt"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """The same run, resumed, evaluated and asked to speak where everything is odd."""
    folder = tmp_path_factory.mktemp("odd") / "ein Ordner, größer als 'x'"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT, encoding="utf-8")
    run = str(default_folder(override(preset("tiny"), WORDS[1:])))
    commands = [
        ["train", *WORDS],
        ["resume", run],
        ["eval", run],
        ["generate", run, "--prompt", "line", "--tokens", "8"],
        ["data", "inspect", *WORDS, "--rows", "4"],
    ]
    told = child(folder, commands, environment=ODD, drop=("HOME",))
    return folder / run, told


def test_f32_folders_with_spaces_and_letters_no_home_and_a_strict_umask(odd):
    run, told = odd
    assert told["codes"] == [0, 0, 0, 0, 0]
    made = [path for path in run.rglob("*") if not path.is_symlink()]
    assert len(made) > 20
    for path in made:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_f33_imports_and_commands_ask_for_no_network(odd):
    assert odd[1]["asked"] == [] and odd[1]["sockets"] == []


def test_f33_the_child_would_notice(tmp_path):
    told = child(tmp_path, [["presets"]], "control", environment={})
    assert [event for event, _ in told["asked"]] == ["socket.getaddrinfo"]


def test_f34_clock_locale_and_hash_seed_change_no_number_and_no_name(odd, usual):
    run, _ = odd
    assert run.name == usual.name
    assert losses(run) == losses(usual)
    assert {r["step"] for r in read_metrics(run)} == {1, 2}
    for name in ("config.json", "data.json", "parameters.json"):
        assert (run / name).read_bytes() == (usual / name).read_bytes()


def test_f34_what_the_terminal_cannot_spell_is_spelled_out(odd):
    """Standard output is ASCII there; the text has é."""
    assert b"\\xe9" in odd[1]["out"] and b"\xc3" not in odd[1]["out"]


def test_f34_names_follow_from_the_config_alone():
    program = (
        "from jaxlin.cli.train import default_folder; from jaxlin.config.presets import preset;"
        "print(default_folder(preset('quickstart')))"
    )
    seen = set()
    for environment in ({"PYTHONHASHSEED": "0"}, {"PYTHONHASHSEED": "1", **ODD}):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(done.stdout)
    assert len(seen) == 1


@pytest.mark.slow
def test_f32_a_home_that_cannot_be_written(tmp_path, usual):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    told = child(tmp_path, [["train", *WORDS]], environment={"HOME": "/proc"})
    assert told["codes"] == [0]
    assert losses(tmp_path / "runs" / usual.name) == losses(usual)


def test_f32_a_folder_that_cannot_be_written(tmp_path, capsys):
    """/proc takes no folder, not even from root; neither does a file."""
    (tmp_path / "a.txt").write_text(TEXT)
    own = ["data=text", f"data.paths={tmp_path}/a.txt", "--run"]
    for run in ("/proc/none/run", tmp_path / "a.txt" / "run"):
        words = ["train", *TINY, *own, run]
        refused(capsys, words, 4, f"{run}: the run directory cannot be written", root=tmp_path)
    for what in ("pack", "tokenizer"):
        words = ["data", what, "--out", "/proc/none/out", tmp_path / "a.txt"]
        refused(capsys, words, 3, "/proc/none/out: cannot be written", root=tmp_path)


def test_f32_a_relative_path_and_a_home(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["data", "pack", "--out", "~/one", "~/a.txt"]) == 0
    assert main(["data", "pack", "--out", "./two/../three", "a.txt"]) == 0
    assert listing(tmp_path / "one") == listing(tmp_path / "three") != {}
    shown = [[*TINY, "data=packed", f"data.path={path}"] for path in ("~/one", "three")]
    assert [main(["data", "inspect", *words]) for words in shown] == [0, 0]


def test_f32_no_home_is_known(capsys, monkeypatch):
    """As in a container whose user has no name."""
    import pwd

    def unknown(_):
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    said = "~/x: no home folder is known for ~; write the whole path"
    refused(capsys, ["train", *TINY, "--run", "~/x"], 2, said)
    refused(capsys, ["data", "inspect", *TINY, "data=text", "data.paths=~/x"], 3, said)


# ---- 35: streams.


def jaxlin(redirections, *words, code="pass"):
    """A command in a shell with redirections: its exit code and what reached each stream."""
    program = f"import sys; from jaxlin.cli.main import main; rc = main(sys.argv[1:]); {code}"
    quoted = " ".join(f"'{word}'" for word in words)
    return subprocess.run(
        f'{sys.executable} -c "{program}; sys.exit(rc)" {quoted} {redirections}',
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


def test_f35_no_terminal_no_control_codes(usual, capsys):
    assert main(["eval", str(usual), f"data.paths={usual.parents[1]}/a.txt"]) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err and "\r" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("redirections", "words", "code"),
    [
        (">&-", ["config", "tiny"], 0),
        ("2>&-", ["config", "tiny", "steps=3"], 0),
        ("2>&-", ["config", "tiny", "steps=0"], 2),
        ("<&- >&- 2>&-", ["config", "tiny"], 0),
        ("<&- >&- 2>&-", ["config", "tiny", "steps=0"], 2),
        ("| true; exit ${PIPESTATUS[0]}", ["config", "--schema"], 141),
        ("2>&1 | true; exit ${PIPESTATUS[0]}", ["config", "tiny"], 141),
        (">/dev/full", ["config", "tiny"], 1),
    ],
)
def test_f35_streams_that_are_closed_or_full(redirections, words, code):
    done = jaxlin(redirections, *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_f35_a_closed_stream_gives_its_number_to_no_file():
    """Else what libraries print on standard error would be written into a checkpoint."""
    opened = "import os; n = os.open('/dev/null', 0); sys.exit(n < 3)"
    assert jaxlin("2>&-", "presets", code=opened).returncode == 0
    assert jaxlin("<&-", "presets", code=opened).returncode == 0
    assert jaxlin("", "presets", code=f"import os; os.close(2); {opened}").returncode == 1


def test_f35_nothing_to_read_is_an_empty_prompt(usual, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["generate", str(usual), "--tokens", "2", "data.tokenizer=bytes"]) == 0


def test_f35_a_run_outlives_the_reader_of_its_progress(tmp_path, monkeypatch):
    """It goes on in silence: the records have everything."""
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    read, write = os.pipe()
    os.close(read)
    own = ["data=text", f"data.paths={tmp_path}/a.txt", "--run", str(tmp_path / "run")]
    with pytest.raises(BrokenPipeError), os.fdopen(write, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        assert main(["train", *TINY, *own]) == 0
        monkeypatch.undo()
        assert "loss" in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert [r["step"] for r in read_metrics(tmp_path / "run") if r["kind"] == "train"] == [1, 2]
