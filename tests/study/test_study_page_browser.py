"""The page of a study in a real browser: tables and plots are there, nothing complains, in light
and dark, and on the smallest phone nothing sticks out to the side."""

import re

import pytest

from jaxlin.study.grid import files, page, published, read
from tests.study import browser, sweeps
from tests.study.test_browser import DRAWN, MARKS, WIDTH, chromium  # noqa: F401
from tests.study.test_study_page import COMMAND, EVIL, PUBLISHED

pytestmark = pytest.mark.skipif(
    browser.find() is None, reason=f"no browser: none of {', '.join(browser.NAMES)} is installed"
)
OPEN = "for (const folded of document.querySelectorAll('details')) folded.open = true"
ROWS = "Object.fromEntries([...document.querySelectorAll('section[id^=table-]')].map(s => [s.id, " \
       "s.querySelectorAll('tbody tr').length]))"  # fmt: skip
INK = "document.querySelector('.chart')._fullLayout.font.color"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
WIDE = "[...document.querySelectorAll('.scroll')].some(b => b.scrollWidth > b.clientWidth)"


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Of two mixers; names that are long, and one that would like to do harm."""
    points = sweeps.plan(mixers=("gla", "a_mixer_with_a_very_long_name" * 3))
    lines = [sweeps.line(p) for p in points[:-1]]
    lines[0] |= {"status": "failed", "reason": EVIL + "x" * 300, "final": {}, "curves": {}}
    root = tmp_path_factory.mktemp("study")
    study = read.read(sweeps.make(root / "s", points, lines, command=["jaxlin", "x" * 300]))
    files.write(root / "page.html", page.report(study, published.read(PUBLISHED), COMMAND))
    return root / "page.html"


def test_on_the_smallest_phone(chromium, html):  # noqa: F811
    seen = chromium.open(html, 320, 640, ready=DRAWN)
    assert seen.problems == [] and seen.requests == [html.as_uri()]
    marks = seen.evaluate(MARKS)
    assert {"share-task-mqar-task-mqar-accuracy", "curve-task-lm-eval-loss-gla",
            "pareto-task-mqar-task-mqar-accuracy-flops-per-token"} <= marks.keys()  # fmt: skip
    assert [chart for chart, count in marks.items() if count < 1] == []
    rows = seen.evaluate(ROWS)
    assert rows["table-task-mqar-task-mqar-accuracy"] == 4
    assert rows["table-published-recall-by-ratio"] == 6 and rows["table-failed"] == 1
    seen.evaluate(OPEN)
    assert seen.evaluate(WIDTH) == 320 and seen.evaluate(WIDE)  # tables scroll in their boxes
    assert seen.evaluate(BACKGROUND) == "rgb(246, 247, 249)"
    light = seen.evaluate(INK)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    seen.call("Emulation.setEmulatedMedia", features=dark)
    assert seen.until(lambda: seen.evaluate(INK) != light)
    assert seen.evaluate(BACKGROUND) == "rgb(17, 21, 28)" and seen.evaluate(WIDTH) == 320
    assert seen.evaluate("window.evil === undefined && !document.querySelector('img')")
    assert seen.problems == [] and seen.requests == [html.as_uri()]


def test_tables_and_drawings_need_no_script(chromium, html, tmp_path):  # noqa: F811
    bare = tmp_path / "bare.html"
    text = html.read_text(encoding="utf-8")
    bare.write_text(re.sub("<script.*?</script>", "", text, flags=re.DOTALL), encoding="utf-8")
    seen = chromium.open(bare, 320, 640)
    shown = "document.querySelectorAll('{}').length"
    assert seen.evaluate(shown.format("script")) == 0
    assert seen.evaluate(shown.format(".heat")) == 7
    assert seen.evaluate(shown.format(".layers .square")) == 7 * 4
    assert seen.evaluate(ROWS)["table-task-lm-eval-loss"] == 4
    seen.evaluate(OPEN)
    assert seen.evaluate(WIDTH) == 320
