"""`jaxlin sweep`: what is refused, planned, printed; and a whole sweep with a point that fails."""

import json
import re
import shlex
import subprocess

import pytest

from jaxlin.cli.main import Parser, _parse, load, main
from jaxlin.study.sweep.queue import RUNS, Queue
from tests.cli.tiny import TINY
from tests.faults.driver import CACHE, FLAGS, ROOT
from tests.study.sweep.made import finished

WORDS = [word for word in TINY[1:] if not word.startswith("mesh")]
HEAD = "from jaxlin.config.points import Point, product, seeds\n"


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    """For children, which compile quickly."""
    monkeypatch.setenv("XLA_FLAGS", FLAGS)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(CACHE))


@pytest.fixture
def file(tmp_path):
    """Two seeds of one model, and another one."""
    path = tmp_path / "points.py"
    path.write_text(
        HEAD + "def points():\n"
        f"    return product('tiny', *{WORDS!r}, model={{'a': ()}}, seed=seeds(2)) + [\n"
        f"        Point('b', 'tiny', ({', '.join(map(repr, WORDS))}, 'optim.lr=1e-4'))]\n"
    )
    return path


def refused(capsys, words, *parts, code=2):
    assert main(["sweep", *map(str, words)]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("jaxlin: error: ") and "Traceback" not in err
    for part in parts:
        assert part in err, err


def test_bad_input_is_one_paragraph(capsys, file, tmp_path):
    refused(capsys, [tmp_path / "none.py"], "there is no such file; give a Python file")
    refused(capsys, [file, "tiny"], "'tiny' is no override; write path=value")
    refused(capsys, [file, "model.mixr=gla"], "point 'a-seed0' and 2 more: model.mixr")
    refused(capsys, [file, "optim.lr=1e-4", "--plan"], "has the same config as point 'a-seed0'")
    refused(capsys, [file, "--seeds", "2"], "--seeds: 2 points have a seed already")
    refused(capsys, [file, "--only", "c*"], "--only: 'c*' matches no point")
    refused(capsys, [file, "--parallel", "0"], "--parallel: 0 is not among 1 to 1024")
    refused(capsys, [file, "--plan", "--status"], "--plan, --status: give one of them")
    refused(capsys, [tmp_path], "is no sweep folder", code=4)
    refused(capsys, [file, "--out", tmp_path], "exists and is no sweep folder; nothing was written")
    refused(capsys, [file, "--print-jobs", "local"], "'local' is no engine", "slurm")
    refused(capsys, [file, "--print-jobs", ""], "--print-jobs: found ''; see --help")
    refused(capsys, [file, "--print-jobs", "slurm 'x"], "no closing quotation; close it")
    assert [path.name for path in tmp_path.iterdir()] == ["points.py"]


def test_what_goes_with_the_file_only(capsys, tmp_path):
    sweep, _ = finished(tmp_path)
    refused(capsys, [sweep.folder, "steps=3"], "is a sweep folder, whose points stand")
    refused(capsys, [sweep.folder, "--print-jobs", "slurm"], "give the sweep file")
    refused(capsys, [sweep.folder, "--point", "gla"], "has no point 'gla'; did you mean")


def test_all_points_are_tried_before_anything_is_written(capsys, file, tmp_path):
    out = tmp_path / "out"
    words = [file, "--out", out, "batch=1_000_000", "mesh.tensor=3"]
    refused(capsys, words, "point 'a-seed0' and 1 more: mesh: ")
    assert not out.exists()


def test_the_plan(capsys, file, tmp_path):
    assert main(["sweep", str(file), "--out", str(tmp_path / "out"), "--plan"]) == 0
    out = capsys.readouterr().out
    for part in ("points  3: 3 pending", "model: a (2)", "to do   3 points, in 2 processes"):
        assert part in out
    assert not (tmp_path / "out").exists()


def test_status_and_collect_read_the_folder(capsys, tmp_path):
    sweep, _ = finished(tmp_path)
    assert main(["sweep", str(sweep.folder), "--collect"]) == 0
    assert "3 of 4 points" in capsys.readouterr().out
    assert main(["sweep", str(sweep.folder), "--status"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("4 points: 1 pending, 2 done, 1 failed; about 14 s left")
    assert out.endswith("failed: exit code 5: loss nan\n")


SLICE = "--project my-project --zone us-west4-a --nfs 10.0.0.2:/runs"
ENGINES = {
    "slurm --nodes 1 --gpus-per-node 1": ("sbatch", "sweeps/NAME"),
    "gke --image gcr.io/p/jaxlin:1 --nfs 10.0.0.2:/runs --topology v5e:1x1": (
        "kubectl", "/mnt/jaxlin/NAME"),
    f"queued {SLICE} --topology v5e:1x1": ("bash", "/mnt/jaxlin/NAME"),
    f"tpu-vm {SLICE} --topology v5e:1x1": ("bash", "/mnt/jaxlin/NAME"),
    "skypilot --accelerator H100:1 --bucket gs://my-runs": ("sky", "/mnt/jaxlin/NAME"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_one_job_a_point_is_printed(capsys, file, tmp_path, engine):
    """The script is run, with programs of its engine that write down what they are given."""
    program, folder = ENGINES[engine]
    words = [str(file), "log.every=3", "--only", "a-*", "--print-jobs", engine]
    assert main(["sweep", *words]) == 0
    script = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    places = [" ".join(line.split()) for line in script.splitlines() if "--point" in line]
    folder = folder.replace("NAME", file.parent.name)
    if program == "kubectl":
        assert script.count('- "--point"') == 2 and script.count(f'- "{folder}"') == 2
    else:
        command = f"jaxlin sweep {shlex.quote(str(file))} log.every=3 --out {folder} --point a-seed"
        assert len(places) == 2 and all(command in place for place in places), places
    fake = f'{program}() {{ echo called "$@"; cat > /dev/null; }}\nexport -f {program}\n'
    done = subprocess.run(
        ["bash", "-c", fake + script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    logs = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert (done.stdout + logs).count("called") == 2


@pytest.mark.slow
def test_a_sweep_with_a_point_that_fails(capsys, tmp_path):
    """The others go on, its reason is kept, --retry trains it again, results are made again."""
    file, out = tmp_path / "points.py", tmp_path / "out"
    rest = [word for word in WORDS if not word.startswith("steps=")]
    file.write_text(
        HEAD + "def points():\n"
        "    rates = {'good': (), 'bad': ('optim.lr=1e38', 'optim.clip=none')}\n"
        f"    return product('tiny', *{rest!r}, 'steps=6', rate=rates, seed=seeds(2))\n"
    )
    words = ["sweep", str(file), "--out", str(out), "--parallel", "2"]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "4 points: 2 done, 2 failed" in said.out and "`--retry`" in said.err
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["done", "done", "failed", "failed"]
    assert all(line["reason"].startswith("exit code 5: step ") for line in lines[2:])
    assert lines[0]["final"]["eval.loss"] < 10 and lines[0]["group"] == lines[1]["group"]
    assert len(Queue(out).path.read_bytes().splitlines()) == 8
    assert main(words) == 1  # nothing is left to do
    assert len(Queue(out).path.read_bytes().splitlines()) == 8
    assert main([*words, "--retry", "--only", "bad-seed1"]) == 1
    assert len(Queue(out).path.read_bytes().splitlines()) == 10
    before = (out / "results.jsonl").read_bytes()
    (out / "results.jsonl").unlink()
    assert main(["sweep", str(out), "--collect"]) == 0
    assert len((out / "results.jsonl").read_bytes().splitlines()) == len(before.splitlines())
    runs = sorted(str(path) for path in (out / RUNS).iterdir())
    assert main(["report", *runs, "--out", str(tmp_path / "report.html")]) == 0


PAGE = (ROOT / "docs" / "sweep.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("   #")[0].strip()
    for line in PAGE.splitlines()
    if line.startswith("    jaxlin ")
]


def test_the_page_shows_the_example():
    (shown,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert (ROOT / "examples" / "sweep.py").read_text().endswith(shown)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_accepted(line):
    name, *words = shlex.split(line)[1:]
    parser = Parser(prog=name, allow_abbrev=False)
    load(name).add(parser)
    args = _parse(parser, words)
    if getattr(args, "print_jobs", None):
        assert main([name, *words]) == 0
