"""`jaxlin train` and `jaxlin resume`: folders, refusals, exit codes."""

import subprocess
import sys
from dataclasses import replace

import pytest

from jaxlin.cli import resume, train
from jaxlin.cli.main import main
from jaxlin.config.errors import ConfigError
from jaxlin.config.load import override, to_json
from jaxlin.config.presets import preset
from jaxlin.train import records
from tests.cli.tiny import TINY as SMALL


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run."""
    run = tmp_path_factory.mktemp("runs") / "a"
    assert main(["train", *SMALL, "--run", str(run)]) == 0
    return run


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def steps(run):
    return [r["step"] for r in records.read_metrics(run) if r["kind"] == "train"]


def test_the_folder_is_named_after_the_config():
    cfg = preset("tiny")
    name = train.default_folder(cfg)
    assert name.parent.name == "runs" and name.name.startswith("tiny-") and len(name.name) == 13
    assert name == train.default_folder(preset("tiny"))
    assert name != train.default_folder(replace(cfg, seed=1))


def test_the_same_command_on_a_finished_run_does_nothing(done, capsys):
    before = (done / "metrics.jsonl").read_text()
    assert main(["train", *SMALL, "--run", str(done)]) == 0
    assert "checkpoint of step 2" in capsys.readouterr().err
    assert (done / "metrics.jsonl").read_text().removeprefix(before).count("\n") == 1
    assert steps(done) == [1, 2]


def test_a_config_file_replays_the_run(done, tmp_path, capsys):
    again = tmp_path / "b"
    assert main(["train", "--config", str(done / "config.json"), "--run", str(again)]) == 0
    assert (again / "config.json").read_bytes() == (done / "config.json").read_bytes()
    values = [
        [r for r in records.read_metrics(run) if r["kind"] == "train"] for run in (done, again)
    ]
    assert [r["loss"] for r in values[0]] == [r["loss"] for r in values[1]]


def test_before_it_starts_it_says_what_it_will_do(done, tmp_path, capsys):
    main(["train", *SMALL, "--run", str(tmp_path / "c")])
    said = capsys.readouterr().err
    for part in ("parameters", "mesh    1 x cpu", "2 of 4 x 32 = 128 tokens", "from the seed"):
        assert part in said


def test_a_run_with_another_config_is_not_touched(done, capsys):
    before = tree(done)
    assert main(["train", *SMALL, "optim.lr=1e-4", "--run", str(done)]) == 2
    said = capsys.readouterr().err
    assert "optim.lr: 0.003 -> 0.0001" in said and "nothing was written" in said
    assert tree(done) == before


def test_a_folder_of_something_else_is_not_touched(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("x")
    assert main(["train", *SMALL, "--run", str(tmp_path)]) == 2
    assert "no run directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_whose_run_was_killed_before_its_first_file_is_taken(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.json.tmp").write_text("{")
    train.refuse_other_run(run, preset("tiny"))
    (run / "x.tmp").write_text("")
    with pytest.raises(ConfigError, match="no run directory"):
        train.refuse_other_run(run, preset("tiny"))


@pytest.mark.parametrize(
    "word, code, said",
    [
        ("mesh.data=3", 2, "mesh"),
        ("batch=3", 2, "batch"),
        ("context=1000000", 3, "fewer than one window"),
        ("init_from=nowhere", 4, "no run directory"),
        ("model.vocab=100", 2, "model.vocab is 100"),
    ],
)
def test_bad_input_has_its_exit_code_and_writes_nothing(word, code, said, tmp_path, capsys):
    mesh = [] if word.startswith("mesh") else ["mesh.data=2"]
    words = [w for w in SMALL if not w.startswith("mesh.")] + ["mesh.allow_unused_devices=true"]
    if word.startswith("mesh"):
        words.remove("mesh.allow_unused_devices=true")
    assert main(["train", *words, *mesh, word, "--run", str(tmp_path / "run")]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_resume_goes_on_with_more_steps(done, tmp_path):
    import shutil

    run = tmp_path / "longer"
    shutil.copytree(done, run)
    assert main(["resume", str(run), "steps=3", "log.every=1"]) == 0
    assert steps(run) == [1, 2, 3]
    assert records.read_config(run).steps == 3


def test_resume_refuses_what_would_make_it_another_run(done, capsys):
    assert main(["resume", str(done), "optim.lr=1e-4", "steps=5"]) == 2
    said = capsys.readouterr().err
    assert "optim.lr: cannot change within a run" in said and "mesh, steps" in said
    assert main(["resume", str(done), "steps=1"]) == 2


def test_resume_of_no_run(tmp_path, capsys):
    assert main(["resume", str(tmp_path)]) == 4
    assert "is no run directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_changes_are_checked_like_any_override(done):
    assert resume.changed(done, ["mesh.fsdp=2"]).mesh.fsdp == 2


def test_mistakes_are_found_before_jax_is_loaded(done, tmp_path):
    """Imports of jax are made to fail: the refusals come all the same."""
    commands = {
        ("train", "tiny", "optim.lr=no"): 2,
        ("train", "tiny", "--run", str(done)): 2,
        ("resume", str(done), "seed=1"): 2,
        ("resume", str(tmp_path)): 4,
    }
    script = (
        "import sys; sys.modules['jax'] = None\n"
        "from jaxlin.cli.main import main\n"
        f"for words, code in {commands!r}.items():\n"
        "    assert main(words) == code, words\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_config_json_is_the_config_as_asked(done):
    cfg = override(preset("tiny"), SMALL[1:])
    assert (done / "config.json").read_text() == to_json(cfg)
