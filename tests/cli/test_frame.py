"""The frame of the command line: commands, help, exit codes, broken pipes, no jax."""

import os
import subprocess
import sys

import pytest

from jaxlin.cli import main as frame
from jaxlin.config import errors


def jaxlin(*words, code="", **options):
    """Runs the command line in a fresh interpreter; `code` runs after it, with `rc` set."""
    program = f"import sys; from jaxlin.cli.main import main; rc = main(sys.argv[1:]); {code}"
    return subprocess.run(
        [sys.executable, "-c", program + "\nsys.exit(rc)", *words],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize("name", frame.commands())
def test_a_command_has_help_and_an_example(name, capsys):
    command = frame.load(name)
    assert command.HELP and "\n" not in command.HELP and not command.HELP.endswith(".")
    assert f"jaxlin {name}" in command.EXAMPLE
    with pytest.raises(SystemExit) as stop:
        frame.main([name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert command.HELP in " ".join(shown.split()) and command.EXAMPLE.split("\n")[0] in shown


def test_top_help_lists_commands_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as stop:
        frame.main([])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for name in frame.commands():
        assert f"\n  {name}" in shown and frame.load(name).HELP in shown
    for error in (errors.ConfigError, errors.DataError, errors.CheckpointError):
        assert f"\n  {error.exit_code} " in shown
    for error in (errors.DivergedError, errors.PreemptedError):
        assert f"\n  {error.exit_code} " in shown


LIGHT = "assert not {'jax', 'flax', 'orbax', 'grain'} & set(sys.modules), 'jax was imported'"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["config", "tiny", "model.mixer=gla"], 0),
        (["config", "tiny", "model.mixer=gal"], 2),
        (["config", "--schema"], 0),
        (["presets"], 0),
        (["nothing"], 2),
    ],
)
def test_no_jax(words, code):
    done = jaxlin(*words, code=LIGHT)
    assert done.returncode == code, done.stderr


def test_help_imports_neither_jax_nor_pydantic():
    program = (
        "import sys, atexit\n"
        "from jaxlin.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'orbax', 'grain', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_only_the_chosen_command_is_imported():
    check = "assert [m for m in sys.modules if m.startswith('jaxlin.cli.')] == "
    done = jaxlin("presets", code=check + "['jaxlin.cli.main', 'jaxlin.cli.presets']")
    assert done.returncode == 0, done.stderr


def test_an_error_is_one_paragraph_on_stderr(capsys):
    assert frame.main(["config", "tiny", "steps=0"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "jaxlin: error: steps: found 0; allowed: a whole number > 0\n"


def test_debug_shows_the_traceback(capsys):
    assert frame.main(["config", "tiny", "steps=0", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_unknown_command_names_the_nearest(capsys):
    assert frame.main(["confg"]) == 2
    assert "'confg' is no command; did you mean 'config'?" in capsys.readouterr().err


def test_dashed_override_is_explained(capsys):
    assert frame.main(["config", "tiny", "--optim.lr=3"]) == 2
    assert "overrides are written without dashes: path=value" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.DataError("x"), 3),
        (errors.CheckpointError("x"), 4),
        (errors.DivergedError("x"), 5),
        (errors.PreemptedError("x"), 75),
        (KeyError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error, code, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr(frame.load("presets"), "run", fail)
    assert frame.main(["presets"]) == code
    shown = capsys.readouterr().err
    assert shown.startswith("jaxlin: ") and "Traceback" not in shown


def test_reader_that_goes_away():
    read, write = os.pipe()
    os.close(read)
    program = "import sys; from jaxlin.cli.main import main; sys.exit(main(['presets']))"
    done = subprocess.run([sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_closed_stdout():
    program = "import sys; from jaxlin.cli.main import main; sys.exit(main(['presets']))"
    command = f'{sys.executable} -c "{program}" >&-'
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
