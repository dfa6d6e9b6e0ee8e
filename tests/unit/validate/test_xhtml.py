"""Narratives: the verdicts of both Java validators (HAPI 8.8.1, org.hl7.fhir.validation 6.7.9), which agree on all of these.

VALID and INVALID are theirs and ours; STRICTER and MILDER have the reason why ours is another.
"""

from __future__ import annotations

import pytest

from service.validate.xhtml import MAX_DEPTH, problems

XMLNS = 'xmlns="http://www.w3.org/1999/xhtml"'


def div(content: str, attributes: str = "") -> str:
    return f"<div {XMLNS}{attributes}>{content}</div>"


VALID = [
    *(
        div(text)
        for text in ("a", "&#160;", "&#xe9;", "😀", "a &amp; b &lt; &gt; &quot; &apos;", "a > b", "<!-- c -->a", "<img/>")
    ),
    *('<?xml version="1.0"?>' + div("a"), div("<?x y?>a"), "<!DOCTYPE div>" + div("a")),
    *("  " + div("a"), div("a") + "\n", "<!-- c -->" + div("a"), div("a") + "<!-- c -->"),
    *(div("a", ' xmlns:f="http://x"'), div("a", ' xml:lang="en" lang="en"'), div(f"<p {XMLNS}>a</p>")),
    '<x:div xmlns:x="http://www.w3.org/1999/xhtml">a</x:div>',
    *(div(f"<{name}>a</{name}>") for name in ("b", "tt", "big", "q", "bdo", "address", "acronym", "blockquote", "pre", "h6")),
    div("<table><caption>x</caption><colgroup><col/></colgroup><tr><td>a</td></tr></table>"),
    div("<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>a</td></tr></tbody></table>"),
    div(
        "<table>\n  <tr>\n <td>a</td></tr></table><ul>\n<li><p>x</p><ul><li>y</li></ul></li></ul><dl><dt>a</dt><dd>b</dd></dl>"
    ),
    div('<p class="a" id="b" title="c" lang="en" dir="ltr" style="color:red" xml:space="preserve" align="left">a</p>'),
    div('<table border="1" cellpadding="1" frame="box" rules="all"><tr><td colspan="1" nowrap="n">a</td></tr></table>'),
    *(div(f'<a href="{url}">a</a>') for url in ("http://x", "mailto:x@y", "tel:1", "Patient/1", "?a", "//x/y", "é", "x-foo:y")),
    *(div(f'<img src="{url}" alt="b"/>') for url in ("http://x", "a.png", "cid:a", "data:image/png;base64,AA AA")),
    *(
        div('<a name="x"/><a href="#x">a</a>'),
        div('<map name="a"><area shape="rect" coords="1,1" href="#a"/></map>a<b id="a"/>'),
    ),
]

INVALID = [
    *(
        "",
        "abc",
        "x" + div("a"),
        f"<div {XMLNS}><p>a</div>",
        div("<p><b>a</p></b>"),
        div("a<br>b"),
        div("a < b"),
        div("< p>a</p>"),
    ),
    *(div(text) for text in ("", "  ", "\n\t", "<p></p>", "<br/>", "<!-- c -->")),
    *(div(f"a {entity}") for entity in ("&nbsp;", "&eacute;", "&foo;", "&amp b", "& b", "&#x110000;", "&NewLine;")),
    *(
        "<div>a</div>",
        '<div xmlns="http://x">a</div>',
        div('<p xmlns="http://x">a</p>'),
        f"<p {XMLNS}>a</p>",
        f"<DIV {XMLNS}>a</DIV>",
    ),
    '<!DOCTYPE div [<!ENTITY x "y">]>' + div("&x;"),
    *(
        div(f"<{name}>a</{name}>")
        for name in ("script", "style", "iframe", "form", "object", "font", "svg", "u", "s", "nav", "h7")
    ),
    *(
        div(f"<{name}>a</{name}>")
        for name in ("SPAN", "P", "center", "ins", "del", "input", "link", "base", "frame", "video", "mark")
    ),
    *(
        div(f'<p {name}="x">a</p>')
        for name in ("onclick", "foo", "data-x", "aria-label", "role", "CLASS", "xml:id", "href", "idref")
    ),
    *(div("a", ' onclick="x"'), div('<a href="http://x" target="_blank">a</a>'), div('<img src="a.png" onerror="x"/>')),
    *(
        div(f'a<a href="{url}">a</a>')
        for url in ("javascript:x", "vbscript:x", "urn:x", "cid:x", "", " ", "a b", " javascript:x")
    ),
    *(div(f'a<img src="{url}"/>') for url in ("", "a b", "data:x", "data:image/png;base64,", "&#160;x")),
    *(div(f"<p><{name}>a</{name}></p>") for name in ("div", "p", "blockquote", "pre")),
    *(
        div(text)
        for text in (
            "<li>a</li>",
            "<td>a</td>",
            "<dl>x</dl>",
            "<ul>x</ul>",
            "<br>x</br>",
            "a<br> </br>",
            "<span><div>a</div></span>",
        )
    ),
    *(
        div(text)
        for text in (
            "<table>x<tr><td>a</td></tr></table>",
            '<a href="b"><a href="b">a</a></a>',
            "<b>" * 500 + "a" + "</b>" * 500,
        )
    ),
]

XML = "it is no well-formed XML 1.0, which narrative.html asks for; the Java validators read it leniently"
ACTIVE = "narrative.html#xhtml: no scripts; browsers read schemes in either case, and styles may call them"
STRICTER = [
    *((text, XML) for text in (div("a") + div("b"), div("a") + "x", f"<div {XMLNS}>a", div("a]]>b"), div("a<!-- c -- d -->"))),
    *((div(f"<p {text}>a</p>"), XML) for text in ("class=a", "class", 'class="a" class="b"', 'title="a<b"', 'class="a"id="b"')),
    *((div(f"a{text}"), XML) for text in ("\x01", "&#0;", "&#1;", "\ufffe", "&amp")),
    *((div(f'<a href="{url}">a</a>'), ACTIVE) for url in ("JavaScript:x", "VBSCRIPT:x")),
    *((div(f'<p style="{style}">a</p>'), ACTIVE) for style in ("width:expression(x)", "background:url(javascript:x)")),
    (div('<img src="javascript:x"/>'), ACTIVE),
]
RESOLVE = "what it points to may be elsewhere in the resource: whoever has the resource checks it"
MILDER = [
    *((div(text), "XML: a CDATA section is text") for text in ("<![CDATA[a]]>", "<![CDATA[<script>]]>")),
    *((div(text), RESOLVE) for text in ('<a href="#x">a</a>', '<img src="#x"/>')),
    *(
        (div(text), "HTML 4 lets inline elements nest in their like, but for a")
        for text in ("<b><b>a</b></b>", "<i><i>a</i></i>")
    ),
]


@pytest.mark.parametrize("text", VALID)
def test_takes_what_both_java_validators_take(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize("text", INVALID)
def test_refuses_what_both_java_validators_refuse(text: str) -> None:
    assert problems(text) != []


@pytest.mark.parametrize(("text", "reason"), STRICTER)
def test_is_stricter_with_a_reason(text: str, reason: str) -> None:
    assert problems(text) != [], reason


@pytest.mark.parametrize(("text", "reason"), MILDER)
def test_is_milder_with_a_reason(text: str, reason: str) -> None:
    assert problems(text) == [], reason


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (div("<script>a</script>"), ["the element script is not allowed in a narrative (txt-1)"]),
        (div("a<p onclick='x'/><p onclick='y'/>"), ["the attribute onclick is not allowed here (txt-1)"]),
        (div(" "), ["the narrative must have text or an image (txt-2)"]),
        (div("<p>a"), ["XHTML must be well-formed XML: mismatched tag at line 1, column 49"]),
        (
            div("<ul>a</ul><center/>"),
            ["text must not stand directly in ul", "the element center is not allowed in a narrative (txt-1)"],
        ),
        ("\ud800", ["XHTML must be Unicode text, without lone surrogates"]),
    ],
)
def test_says_what_is_wrong_once(text: str, found: list[str]) -> None:
    assert problems(text) == found


@pytest.mark.parametrize(
    "text",
    ["<Miller>a</Miller>", "a<p Miller='x'/>", "<b Miller/>", "&Miller;", "<p title='Miller'", "<!Miller>", "<?Miller ?>"],
)
def test_never_quotes_what_could_be_a_patients(text: str) -> None:
    """A bracket that was not escaped turns a name in the text into the name of an element."""
    found = problems(div(text))
    assert found
    assert "Miller" not in "".join(found)


def test_bounds_depth() -> None:
    inner = MAX_DEPTH - 1
    assert problems(div("<b>" * inner + "a" + "</b>" * inner)) == []
    assert problems(div("<b>" * (inner + 1) + "a" + "</b>" * (inner + 1))) == [
        f"elements must not stand more than {MAX_DEPTH} deep in one another"
    ]


@pytest.mark.parametrize(
    "part", ["<b>", "<p foo='1'/>", "&#97;", "<![CDATA[a]]>", "<!-- -->", "a", "<", "&", "]]>", "<a href='data:,,,,'/>"]
)
def test_long_hostile_texts_end(part: str) -> None:
    problems(div(part * 50_000))


def test_entities_never_grow() -> None:
    """The "billion laughs": the document type ends the reading, before anything is declared."""
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    assert problems(f'<!DOCTYPE div [<!ENTITY a0 "ha">{entities}]>' + div("&a9;")) == [
        "XHTML in FHIR must have no DOCTYPE with declarations"
    ]
