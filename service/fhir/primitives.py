"""The formats of FHIR's primitive types: what a decoded JSON value must be like to be a date, a code or a decimal.

Sources: http://hl7.org/fhir/R4/datatypes.html#primitive (each regex and the text beside it) and
http://hl7.org/fhir/R4/json.html#primitive (which JSON type). Both Java validators were asked about odd values; where
this module is stricter or milder than both of them, a comment names the clause.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from service.fhir.scan import Json

Check = Callable[[Json], str | None]


def problem(type_code: str, value: Json) -> str | None:
    """What is wrong with a value of this primitive type: a sentence that never quotes it, or None where it is right.

    Raises KeyError where FHIR R4 has no such primitive type. Whoever checks many values binds `CHECKS[type_code]` once.
    """
    return CHECKS[type_code](value)


# The three kinds of check --------------------------------------------------------------------------------------------


def _text(pattern: str, expected: str) -> Check:
    matches = re.compile(pattern).fullmatch

    def check(value: Json) -> str | None:
        return None if isinstance(value, str) and matches(value) else expected

    return check


def _integer(low: int, expected: str) -> Check:
    def check(value: Json) -> str | None:
        # Not isinstance: True is an int to Python. 1.0 and 1e3 are Decimals here, and FHIR's integers have neither form.
        return None if type(value) is int and low <= value <= _MAX_INTEGER else expected

    return check


def _instance(types: tuple[type, ...], expected: str) -> Check:
    def check(value: Json) -> str | None:
        return None if type(value) in types else expected

    return check


# Patterns: each takes time linear in the text, since the next character alone tells which part goes on -----------------

_MAX_INTEGER: Final = 2**31 - 1

# Control characters SHOULD not be in it: no error.
_STRING: Final = r"(?s:.){1,1048576}"
_STRING_EXPECTED: Final = "of 1 to 1,048,576 characters"

# No whitespace of any script in codes, where \S is to be read so; of ASCII alone in URIs, as the Java validators read it.
_MARK: Final = r"[^\s\x00-\x1f]"
_URI_MARK: Final = r"[^ \x00-\x1f]"
_UUID: Final = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# The Java validators refuse an OID whose last dot comes early ("1.2.3"): the regex does not.
_OID: Final = r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+"
_URN: Final = rf"(?:{_UUID}|{_OID})"
_URI: Final = rf"(?!urn:(?:uuid|oid):){_URI_MARK}+|{_URN}(?:#{_URI_MARK}*)?"
# "Canonical URLs … are always absolute", or point into the resource: http://hl7.org/fhir/R4/references.html#canonical
_CANONICAL: Final = rf"(?!urn:(?:uuid|oid):)(?:#|[A-Za-z][A-Za-z0-9+.-]*:){_URI_MARK}*|{_URN}(?:[|#]{_URI_MARK}*)?"

# The Gregorian calendar as a pattern: years 0001 to 9999, and no day that did not exist.
_YEAR: Final = r"(?!0000)[0-9]{4}"
_MONTH: Final = r"(?:0[1-9]|1[0-2])"
_DAY_OF_ANY_YEAR: Final = r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_LEAP_YEAR: Final = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_FULL_DATE: Final = rf"(?:{_YEAR}-{_DAY_OF_ANY_YEAR}|(?!0000){_LEAP_YEAR}-02-29)"
_PARTIAL_DATE: Final = rf"{_YEAR}(?:-{_MONTH})?"
# Second 60 is there for leap seconds, in any minute. The Java validators refuse a fraction in a time; its regex has it.
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE: Final = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_CLOCK: Final = rf"T{_TIME}{_ZONE}"

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}").fullmatch


def _base64(value: Json) -> str | None:
    """Whitespace may stand anywhere, as the Java validators have it, though the regex wants groups of four characters.

    Padding may not: RFC 4648, which the text cites, has it at the end only. The regex and the Java validators take "====".
    """
    if isinstance(value, str):
        packed = "".join(value.split())
        if len(packed) % 4 == 0 and _BASE64(packed):
            return None
    return "expected base64 (RFC 4648): groups of four characters of A-Z, a-z, 0-9, + and /, the last one padded with ="


# Dates in words, since three types share them
_WHEN: Final = "YYYY-MM-DDThh:mm:ss with a time zone (Z or +hh:mm)"

CHECKS: Final[dict[str, Check]] = {
    "base64Binary": _base64,
    "boolean": _instance((bool,), "expected the JSON value true or false"),
    "canonical": _text(_CANONICAL, "expected an absolute URL without blanks, or # and an id"),
    # Its text allows "no whitespace other than single spaces"; the regex would take a tab or a no-break space.
    "code": _text(rf"{_MARK}+(?: {_MARK}+)*", "expected a code: no blanks but single spaces inside"),
    "date": _text(rf"{_FULL_DATE}|{_PARTIAL_DATE}", "expected a real date as YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": _text(
        rf"{_FULL_DATE}(?:{_CLOCK})?|{_PARTIAL_DATE}", f"expected a real date as YYYY, YYYY-MM, YYYY-MM-DD or {_WHEN}"
    ),
    # Any number of digits: 18 is what a system should keep at least, and the Java validators only warn beyond it.
    "decimal": _instance((int, Decimal), "expected a JSON number"),
    "id": _text(r"[A-Za-z0-9.-]{1,64}", "expected an id: 1 to 64 characters of A-Z, a-z, 0-9, - and ."),
    "instant": _text(_FULL_DATE + _CLOCK, f"expected a real moment as {_WHEN}"),
    "integer": _integer(-(2**31), "expected a whole JSON number from -2147483648 to 2147483647"),
    # A kind of string, so its limits hold; the Java validators forget the length.
    "markdown": _text(_STRING, f"expected markdown {_STRING_EXPECTED}"),
    "oid": _text(_OID, "expected an OID as urn:oid:1.2.3"),
    "positiveInt": _integer(1, "expected a whole JSON number from 1 to 2147483647"),
    # Whitespace at the ends, or nothing but whitespace, SHOULD not be: no error.
    "string": _text(_STRING, f"expected a string {_STRING_EXPECTED}"),
    "time": _text(_TIME, "expected a time as hh:mm:ss"),
    "unsignedInt": _integer(0, "expected a whole JSON number from 0 to 2147483647"),
    "uri": _text(_URI, "expected a URI without blanks; a urn:uuid: in lower case and a urn:oid: well formed"),
    "url": _text(_URI, "expected a URL without blanks; a urn:uuid: in lower case and a urn:oid: well formed"),
    "uuid": _text(_UUID, "expected a UUID as urn:uuid: and 36 characters in lower case"),
    # Its content is judged as XHTML, elsewhere.
    "xhtml": _text(r"(?s:.+)", "expected a string of XHTML"),
}
