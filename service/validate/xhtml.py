"""The XHTML of a narrative: well formed, only the elements and attributes that FHIR allows, and something to read.

Source: http://hl7.org/fhir/R4/narrative.html#xhtml and its rules txt-1 and txt-2. That text points to chapters of HTML 4; the
tables below are what both Java validators make of them, found by asking about each element, attribute and nesting.
Where they read what is no XML (two roots, unquoted attributes, entities declared, control characters), the text stands.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from xml.parsers import expat  # safe here: declarations, where attacks by entities begin, end the reading

NAMESPACE: Final = "http://www.w3.org/1999/xhtml"
MAX_DEPTH: Final = 100


class Content(NamedTuple):
    """What a div holds: its faults, the names of places in it (id and name), and its links to such places ("#x")."""

    problems: list[str]
    names: set[str]
    links: set[str]


def problems(div: str) -> list[str]:
    """What is wrong with a narrative's div, a sentence for each kind of fault; it takes time linear in the text.

    No text of the narrative is quoted, nor a name that is not HTML's own: "<Miller>" may stand for a patient.
    """
    return read(div).problems


def read(div: str) -> Content:
    """The same, with the places and links in it."""
    reader = _Reader()
    try:
        reader.parser.Parse(div, True)
    except _Stop:
        pass
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset + 1}"
        reader.found[f"XHTML must be well-formed XML: {expat.ErrorString(error.code)} at {place}"] = None
    except UnicodeEncodeError:
        reader.found["XHTML must be Unicode text, without lone surrogates"] = None
    else:
        if not reader.has_content:
            reader.found["the narrative must have text or an image (txt-2)"] = None
    return Content(list(reader.found), reader.names, reader.links)


# Tables --------------------------------------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_INLINE: Final = _words("a abbr acronym b bdo big cite code dfn em i kbd q samp small span strong sub sup tt var")
_HEADINGS: Final = _words("h1 h2 h3 h4 h5 h6")
_LISTS: Final = _words("ul ol")
_ELEMENTS: Final = (
    _INLINE
    | _HEADINGS
    | _LISTS
    | _words("address area blockquote br caption col colgroup dd div dl dt hr img li map p pre")
    | _words("table tbody td tfoot th thead tr")
)
_REFUSED_ELEMENTS: Final = _words(
    "applet audio base basefont body button canvas center del dir embed fieldset font form frame frameset head html iframe"
    " input ins isindex label legend link math menu meta noframes noscript object optgroup option param s script select"
    " source strike style svg template textarea title u video"
)

_EVERYWHERE: Final = _words(
    "abbr accesskey align axis char charoff class colspan dir headers id lang rowspan scope span style tabindex title valign"
    " width xml:lang xml:space"
)
_ATTRIBUTES: Final[dict[str, frozenset[str]]] = {
    "a": _words("charset coords href hreflang name rel rev shape type"),
    "area": _words("alt coords href nohref shape"),
    "blockquote": _words("cite"),
    "img": _words("alt border height ismap longdesc src usemap"),
    "map": _words("name"),
    "q": _words("cite"),
    "table": _words("border cellpadding cellspacing frame rules summary"),
    "td": _words("nowrap"),
}
_REFUSED_ATTRIBUTES: Final = (
    frozenset().union(*_ATTRIBUTES.values())
    | _words(
        "background bgcolor clear color compact datetime face hspace idref media noshade size srcset start target value vspace"
    )
    | _words("onblur onchange onclick onerror onfocus onkeydown onkeyup onload onmouseover onmouseout onsubmit")
)

# What may stand in these, and no text beside it; where nothing may, not even a blank.
_CHILDREN: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("area", "br", "col", "hr", "img"), frozenset()),
    **dict.fromkeys(("ul", "ol"), _words("li")),
    **dict.fromkeys(("tbody", "tfoot", "thead"), _words("tr")),
    "dl": _words("dd dt"),
    "table": _words("caption col colgroup tbody tfoot thead tr"),
    "tr": _words("td th"),
}
# Where these must stand
_PARENTS: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("caption", "colgroup", "tbody", "tfoot", "thead"), _words("table")),
    **dict.fromkeys(("dd", "dt"), _words("dl")),
    **dict.fromkeys(("td", "th"), _words("tr")),
    "col": _words("colgroup table"),
    "li": _LISTS,
    "tr": _words("table tbody tfoot thead"),
}
# What must not stand directly in these
_BLOCKS: Final = _LISTS | _words("div pre table")
_NOT_INSIDE: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(_INLINE | _HEADINGS | {"pre"}, _BLOCKS),
    "a": _BLOCKS | {"a"},
    "p": _BLOCKS | _words("blockquote p"),
}
_NONE: Final[frozenset[str]] = frozenset()

_LINKS: Final = _words("cite href longdesc src")
# Browsers read a scheme in either case, the Java validators in lower case only.
_ACTIVE: Final = re.compile(r"(?:javascript|vbscript):", re.IGNORECASE)
_NO_LINK: Final = re.compile(r"(?:urn|cid):", re.IGNORECASE)
# No blanks, but in data: URLs: the narratives of R4's own definitions break those into lines.
_URL: Final = re.compile(r"data:[^,]*,.+|(?!data:)[^\s\x00-\x1f]+", re.DOTALL)
# "Internally contained style attributes" only; the Java validators do not look into them.
_ACTIVE_STYLE: Final = re.compile(r"javascript:|vbscript:|expression\s*\(|@import", re.IGNORECASE)
# Not str.isspace: a no-break space is content, as the Java validators have it.
_CONTENT: Final = re.compile(r"[^ \t\r\n]")


# Reading -------------------------------------------------------------------------------------------------------------


class _Stop(Exception):
    """Nothing after this place is worth reading."""


class _Reader:
    """What the parser has met so far: `found`, in order and without repeats, and the names of the `open` elements."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self.open: list[str] = []
        self.has_content = False
        self.names: set[str] = set()
        self.links: set[str] = set()
        # "namespace name" for elements and for attributes with a prefix. No other entities than XML's five and numbers:
        # without a document type expat knows none, and the Java validators refuse &nbsp; and its like too.
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.EntityDeclHandler = self.declaration
        self.parser.ElementDeclHandler = self.declaration
        self.parser.AttlistDeclHandler = self.declaration
        self.parser.NotationDeclHandler = self.declaration

    def start(self, full_name: str, attributes: dict[str, str]) -> None:
        namespace, _, name = full_name.rpartition(" ")
        if namespace != NAMESPACE:
            self.stop(f"every element must be in the namespace {NAMESPACE}")
        if len(self.open) == MAX_DEPTH:
            self.stop(f"elements must not stand more than {MAX_DEPTH} deep in one another")
        if name not in _ELEMENTS:
            self.add(f"{_named('element', name, _REFUSED_ELEMENTS)} is not allowed in a narrative (txt-1)")
        self.nesting(name)
        for attribute, value in attributes.items():
            self.attribute(name, attribute.replace("http://www.w3.org/XML/1998/namespace ", "xml:"), value)
        self.has_content = self.has_content or name == "img"
        self.open.append(name)

    def nesting(self, name: str) -> None:
        if not self.open:
            if name != "div":
                self.stop("the outermost element must be div")
            return
        parent = self.open[-1]
        if name not in _ELEMENTS or parent not in _ELEMENTS:
            return
        misplaced = parent not in _PARENTS.get(name, _ELEMENTS) or name not in _CHILDREN.get(parent, _ELEMENTS)
        if misplaced or name in _NOT_INSIDE.get(parent, _NONE):
            self.add(f"the element {name} must not stand in {parent}")

    def attribute(self, element: str, name: str, value: str) -> None:
        if name in ("id", "name"):
            self.names.add(value)
        elif name in ("href", "src") and value.startswith("#"):
            self.links.add(value[1:])
        if name not in _EVERYWHERE and name not in _ATTRIBUTES.get(element, _NONE):
            self.add(f"{_named('attribute', name, _REFUSED_ATTRIBUTES)} is not allowed here (txt-1)")
        elif name in _LINKS and not _URL.fullmatch(value):
            self.add(f"the attribute {name} must be a URL, without blanks or with data")
        elif (name in _LINKS and _ACTIVE.match(value)) or (name == "style" and _ACTIVE_STYLE.search(value)):
            self.add(f"the attribute {name} must not hold active content")
        elif name == "href" and _NO_LINK.match(value):
            self.add("the attribute href must be a URL that can be followed")

    def end(self, _name: str) -> None:
        self.open.pop()

    def text(self, data: str) -> None:
        parent, is_content = self.open[-1], _CONTENT.search(data) is not None
        self.has_content = self.has_content or is_content
        if parent in _CHILDREN and (is_content or not _CHILDREN[parent]):
            self.add(f"text must not stand directly in {parent}")

    def doctype(self, _name: str, system: str | None, *_more: object) -> None:
        # A bare <!DOCTYPE div> says nothing, and the Java validators drop it.
        if system is not None:
            self.declaration()

    def declaration(self, *_declared: object) -> None:
        self.stop("XHTML in FHIR must have no DOCTYPE with declarations")

    def add(self, sentence: str) -> None:
        self.found[sentence] = None

    def stop(self, sentence: str) -> None:
        self.add(sentence)
        raise _Stop


def _named(kind: str, name: str, known: frozenset[str]) -> str:
    """The element or attribute by its name where that is HTML's, and else without."""
    return f"the {kind} {name}" if name in known else f"an {kind} that is not HTML's"
