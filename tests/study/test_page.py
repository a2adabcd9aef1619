"""The page: complete, alone, and deaf to what runs would like it to do."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.study import document, page
from jaxlin.study.runs import read
from jaxlin.train.records import write_json
from tests.study.folders import lines, make

EVIL = "</script><script>window.evil = 1</script><img src=http://evil.example onerror=evil()>"


class Elements(HTMLParser):
    """Tags with their attributes, and the text of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)


def evil_run(root):
    """A run that has markup wherever text of its own can stand."""
    written = [*lines(sample=EVIL), {"kind": EVIL, "step": 3, "what": EVIL}]
    folder = make(root / "run <script>alert(1)<", written)
    write_json(folder / "environment.json", [{"step": EVIL, "command": [EVIL], EVIL: EVIL}])
    write_json(folder / "crash.json", {"exception": EVIL})
    row = {"path": EVIL, "count": 1, "optimizer": EVIL}
    write_json(folder / "parameters.json", {"totals": {}, "rows": [row]})
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return page.page(read([evil_run(tmp_path_factory.mktemp("hostile"))]))


def test_text_of_runs_makes_no_element(hostile, tmp_path):
    tame = Elements(page.page(read([make(tmp_path / "a", lines())])))
    found = Elements(hostile)
    kinds = {tag for tag, _ in found.tags}
    assert kinds <= {tag for tag, _ in tame.tags} and "img" not in kinds
    assert len(found.scripts) == len(tame.scripts) == 3
    assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on")]
    assert "window.evil = 1" in "".join(found.words)  # it is there to read
    raw = html.unescape(hostile)  # the same page without its escapes
    assert "img" in {tag for tag, _ in Elements(raw).tags}


def test_nothing_is_loaded_and_only_its_own_scripts_may_run(hostile):
    found = Elements(hostile)
    for tag, attributes in found.tags:
        assert not {"src", "href", "srcset", "action", "data"} & attributes.keys(), tag
        assert tag not in ("link", "iframe", "object", "base", "form")
    assert "url(" not in document.STYLE and "@import" not in document.STYLE
    (policy,) = [a["content"] for t, a in found.tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    figures, *own = found.scripts
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in own]
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert {f["id"] for f in json.loads(figures)} >= {"loss", "goodput", "run0-half_life"}


def test_a_phone_is_thought_of(hostile):
    metas = {a.get("name"): a.get("content") for tag, a in Elements(hostile).tags if tag == "meta"}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert "prefers-color-scheme: dark" in hostile


def test_differences_of_two_runs_are_shown_and_marked(tmp_path):
    folders = [make(tmp_path / "a", lines()), make(tmp_path / "b", lines(), seed=7)]
    text = page.page(read(folders))
    assert text.count('<tr class="differs"><td>seed</td><td>0</td><td>7</td></tr>') == 1
    assert text.count("<td>seed</td>") == 2  # among the differences, and in the whole config
    assert text.count("No difference.") == 1  # the environments


def test_a_run_without_metrics_has_a_page_without_plots(tmp_path):
    text = page.page(read([make(tmp_path / "a", [])]))
    assert "No metrics are recorded yet." in text and "nothing recorded yet" in text
    assert len(text) < 100_000 and Elements(text).scripts == ["[]"]


def test_numbers_that_are_none_are_counted_and_left_out(tmp_path):
    written = lines()
    written[3] |= {"loss": None, "grad_norm": None}
    written[-4] |= {"loss": None, "bits_per_byte": None, "by_position": []}
    text = page.page(read([make(tmp_path / "a", written)]))
    assert "losses not finite" in text and "held-out loss –" in text


def test_the_page_is_written_whole_over_its_own_kind_only(tmp_path):
    text = page.page(read([make(tmp_path / "a", [])]))
    out = tmp_path / "page.html"
    page.write(out, text)
    page.write(out, text + "<!-- again -->")
    assert out.read_text().endswith("<!-- again -->")
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<html>mine</html>")
    with pytest.raises(ConfigError, match=r"thesis.html exists and is no page of `jaxlin report`"):
        page.write(thesis, text)
    assert thesis.read_text() == "<html>mine</html>"
    assert {p.name for p in tmp_path.iterdir()} == {"a", "page.html", "thesis.html"}


@pytest.mark.parametrize("where", ["missing/page.html", "folder", "file/page.html"])
def test_where_no_page_can_be_written(where, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        page.write(tmp_path / where, "")
    assert {p.name for p in tmp_path.iterdir()} == {"folder", "file"}
