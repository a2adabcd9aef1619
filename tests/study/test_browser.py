"""The page in a real browser: every plot is drawn, nothing complains, nothing is fetched."""

import pytest

from jaxlin.study import page
from jaxlin.study.runs import read
from tests.study import browser
from tests.study.folders import lines, make
from tests.study.test_page import evil_run

DRAWN = "document.documentElement?.hasAttribute('data-drawn')"
# Of each chart: how many marks Plotly drew in it.
MARKS = """Object.fromEntries([...document.querySelectorAll('.chart')].map(chart => [chart.id,
  chart.classList.contains('js-plotly-plot')
    ? chart.querySelectorAll('.scatterlayer .trace, .barlayer .trace').length : 0]))"""
WIDTH = "document.documentElement.scrollWidth"

pytestmark = pytest.mark.skipif(
    browser.find() is None, reason=f"no browser: none of {', '.join(browser.NAMES)} is installed"
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    opened = browser.Browser(browser.find(), tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Of two runs, one of which would like to do harm."""
    root = tmp_path_factory.mktemp("runs")
    path = root / "page.html"
    page.write(path, page.page(read([evil_run(root), make(root / "b", lines(70))])))
    return path


def test_on_a_phone_in_the_dark(chromium, html):
    seen = chromium.open(html, 390, 844, dark=True, ready=DRAWN)
    assert seen.problems == []
    assert seen.requests == [html.as_uri()]
    marks = seen.evaluate(MARKS)
    assert {"loss", "bits", "position", "speed", "rate", "gradient", "goodput"} < marks.keys()
    assert {"depth-half_life", "run0-half_life", "run1-state_norm"} < marks.keys()
    assert [chart for chart, count in marks.items() if count < 1] == []
    assert marks["loss"] == 5  # logged, smoothed and held out; the shorter run is not smoothed
    assert seen.evaluate(WIDTH) == 390  # nothing sticks out to the side
    assert seen.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 28)"
    assert seen.evaluate("window.evil === undefined && !document.querySelector('img')")
    legend = "document.querySelector('#loss .legendtext').textContent"
    assert seen.evaluate(legend) == "run <script>alert(1)<"


def test_the_reader_switches_scales_and_light(chromium, html):
    seen = chromium.open(html, 1280, 900, ready=DRAWN)
    axis = "document.getElementById('loss')._fullLayout.{}"
    assert seen.evaluate(axis.format("yaxis.type")) == "linear"
    seen.evaluate("document.querySelector('[data-figure=loss][data-scale=log]').click()")
    assert seen.evaluate(axis.format("yaxis.type")) == "log"
    seen.evaluate("document.querySelector('[data-x=tokens]').click()")
    assert seen.evaluate(axis.format("xaxis.title.text")) == "tokens"
    assert seen.evaluate("document.getElementById('rate').data[0].x[1]") == 2 * 128
    light = seen.evaluate(axis.format("font.color"))
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    seen.call("Emulation.setEmulatedMedia", features=dark)
    seen.evaluate("new Promise(done => setTimeout(done, 300))")
    assert seen.evaluate(axis.format("font.color")) != light
    assert seen.problems == [] and seen.requests == [html.as_uri()]


def test_what_would_be_caught(chromium, html, tmp_path):
    """A script that fails, a script that is not the page's own, and a request."""
    text = html.read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(page.page([]).replace("<body>", "<body><script>window.evil = 1</script>"))
    seen = chromium.open(broken)
    assert seen.until(lambda: any("Content Security Policy" in text for text in seen.problems))
    assert seen.evaluate("window.evil === undefined")
    broken.write_text(
        "<!DOCTYPE html><div class=chart id=loss></div><script>nothing.here()</script>"
        "<img src='http://example.invalid/x.png'>"
    )
    seen = chromium.open(broken)
    assert seen.until(lambda: any("nothing is not defined" in text for text in seen.problems))
    assert seen.evaluate(MARKS) == {"loss": 0}
    assert seen.until(lambda: any("example.invalid" in url for url in seen.requests))
    assert "nothing.here" not in text
