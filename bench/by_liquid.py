"""The common way of converters by template: python-liquid writes the bundle's JSON text, which is then checked as JSON.

The template is compiled once. Look-ups of codes, identities and moments are filters in Python, as they are in Microsoft's
converter, and concepts are texts made beforehand: what is left to the template is its own work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from liquid import Environment
from liquid.filter import with_context
from parts import CODES, PROFILES, Identities, Json, codes, concepts, decode, encode, moment

TEMPLATE = Path(__file__).parent / "case.liquid"
_check = msgspec.json.Decoder().decode


def convert(raw: bytes) -> bytes:
    record = decode(raw)
    known = Identities(record)
    names = {"record": record, "known": known.urls, "drugs": known.drugs, "patient": known.patient, "identities": known}
    text = _template.render(**names, profiles=PROFILES).encode()
    _check(text)
    return text


class _Concepts:
    """`{{ term | concept: "labs" }}`: the text of a CodeableConcept."""

    def __init__(self) -> None:
        tables = [path.stem for path in CODES.glob("*.csv")]
        self.texts = {name: {term: _text(concept) for term, concept in concepts(name).items()} for name in tables}
        self.codes = {name: codes(name) for name in ("units", "sexes", "drug-statuses", "procedure-statuses")}

    def concept(self, term: str, table: str) -> str:
        return self.texts[table][term]

    def code(self, term: str, table: str) -> str:
        return self.codes[table][term]


def _text(value: Any) -> str:
    return encode(value).decode()


@with_context
def _moment(text: str, name: str, required: str = "", *, context: Any) -> str:
    """The members of name[x], without braces."""
    return _text(moment(text, name, context.resolve("identities").events, required=bool(required)))[1:-1]


@with_context
def _url(item: str, *, context: Any) -> str:
    found: Json = context.resolve("identities").by_id
    return str(found[item])


def _environment() -> Environment:
    environment = Environment()
    tables = _Concepts()
    environment.add_filter("concept", tables.concept)
    environment.add_filter("code", tables.code)
    environment.add_filter("json", _text)
    environment.add_filter("moment", _moment)
    environment.add_filter("url", _url)
    return environment


_template = _environment().from_string(TEMPLATE.read_text(encoding="utf-8"))
