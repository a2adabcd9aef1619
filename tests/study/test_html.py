"""HTML by construction."""

from jaxlin.study.html import Markup, details, el, raw, table, text

EVIL = """<script>alert(1)</script>"'&"""
SAFE = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;"


def test_children_and_attributes_are_escaped():
    assert el("p", EVIL) == f"<p>{SAFE}</p>"
    assert el("p", class_=EVIL) == f'<p class="{SAFE}"></p>'
    assert table([EVIL], [[EVIL]]).count(SAFE) == 2
    assert details(EVIL).count(SAFE) == 1


def test_markup_is_not_escaped_again():
    assert el("p", el("b", "x"), [el("i", "y"), "<"], None, 3) == "<p><b>x</b><i>y</i>&lt;3</p>"
    assert text(raw("<br>")) == "<br>" and isinstance(el("br"), Markup)


def test_text_made_of_markup_is_markup_no_more():
    assert el("p", f"{el('b', 'x')}") == "<p>&lt;b&gt;x&lt;/b&gt;</p>"


def test_differing_rows_are_marked():
    assert table(["a"], [["1"], ["2"]], marked=[1]).count('<tr class="differs">') == 1
