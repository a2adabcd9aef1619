"""launch/README.md shows what is printed, and its other commands are accepted."""

import re
import shlex
from pathlib import Path

import pytest

from jaxlin.cli import common, main
from jaxlin.launch import local
from jaxlin.parallel import join, peers
from jaxlin.train import selfcheck, shared

README = (Path(__file__).parents[2] / "launch" / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```console\n\$ (jaxlin [^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = BLOCK.findall(README)
OTHERS = [
    line.partition("   #")[0].strip()
    for line in BLOCK.sub("", README).splitlines()
    if line.startswith("    jaxlin ")
]


def test_every_engine_is_shown():
    shown = {shlex.split(command)[2] for command, _ in SHOWN}
    assert shown == {"tpu-vm", "queued", "gke", "slurm", "skypilot"}


@pytest.mark.parametrize("command, output", SHOWN, ids=[c.split()[2] for c, _ in SHOWN])
def test_it_shows_what_is_printed(command, output, capsys):
    assert main.main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out == output


@pytest.mark.parametrize("command", OTHERS)
def test_other_commands_are_accepted(command):
    """Its options exist; its overrides fit its preset."""
    name, *words = shlex.split(command)[1:]
    parser = main.Parser(prog=name, allow_abbrev=False)
    main.load(name).add(parser)
    args = main._parse(parser, words)
    if name != "sweep":  # its first word is a file
        common.resolve(args)


def test_its_times_are_those_of_the_code():
    assert f"the others have {local.GRACE:.0f} seconds" in README
    assert f"`--join-timeout` ({join.TIMEOUT} s)" in README
    assert f"heartbeats end them after {join.GONE} s" in README
    assert f"at most {peers.LOOK + peers.LAST_WORDS + peers.DEPART:.0f} s later" in README
    assert f"ended after {selfcheck.LIMIT:.0f} s" in README
    assert f"refused on all after {shared.PATIENCE:.0f} s" in README
