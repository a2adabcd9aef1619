"""What the README says is so: its preset is the preset, its commands and those of the other pages
are accepted, its mistake is answered as it says."""

import inspect
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from configs.quickstart import quickstart
from jaxlin.cli import main
from jaxlin.config.override import override
from jaxlin.config.presets import preset

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    re.split(r"\s#", line)[0].strip()
    for page in PAGES
    for line in page.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    if re.match(r" {4,}jaxlin ", line)
]


def body(source: str) -> str:
    """A function's statement, without docstring and comments."""
    return re.sub(r"\s+#.*$", "", source[source.index("return") :], flags=re.MULTILINE).strip()


def test_the_explained_preset_is_the_preset() -> None:
    (shown,) = [code for code in CODE if "def quickstart" in code]
    dedented = textwrap.dedent(inspect.getsource(quickstart))
    assert body(shown) == body(dedented)


def parsed(words: list[str]):
    command = main.load(words[1])
    parser = main.Parser(prog=words[1], allow_abbrev=False)
    command.add(parser)
    return main._parse(parser, words[2:])


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_accepted(line: str) -> None:
    """Its options exist; its overrides fit its preset."""
    args = parsed(shlex.split(line))
    words = getattr(args, "words", [])
    if words and "=" not in words[0]:
        override(preset(words[0]), [word for word in words[1:] if "=" in word])


def test_the_mistake_that_is_shown_is_answered_as_it_says(capsys: pytest.CaptureFixture) -> None:
    shown = re.findall(r"^    \$ jaxlin (.*)\n    (jaxlin: error: .*)$", README, re.MULTILINE)
    assert shown
    for words, answer in shown:
        assert main.main(shlex.split(words)) == 2
        assert capsys.readouterr().err == f"{answer}\n"


def test_a_wrong_command_is_not() -> None:
    with pytest.raises(Exception, match="--wrong"):
        parsed(shlex.split("jaxlin params tiny --wrong 1"))
