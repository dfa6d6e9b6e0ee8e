"""Reads the files of a mapping set into a Spec. Every error of every file is reported, each with file, line and column."""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from service.case.form import ITEM_ID
from service.errors import MappingInvalid
from service.issues import Issue, Origin
from service.mapping.source import Located, Tree, problem, read_yaml, refuse
from service.mapping.spec import Constant, FieldRef, Row, RowFile, Spec, Step, Use
from service.terminology.tables import CodeTable, read_table

SET_KEYS = ("name", "version", "url", "title", "identifier", "items", "anchors", "resources", "ignored")
WORDS = ("name", "version", "url", "title", "identifier", "items")
FILE_KEYS = ("each", "resource", "key", "requires", "fixed", "rows")
# The author under whom a doubt of the one who keyed the case stands in a note, apart from other notes.
DOUBT = "Doubt about the source"
# What a constant may stand for: the set's own system of item ids, and the author of doubts.
WORDS_FOR_VALUES = ("$items", "$doubt")

_REST = r"[A-Za-z0-9._~!$&'()*+,;=:@/-]"
URI = rf"https?://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[1-9]\d{{0,4}})?(?:/{_REST}*)?|urn:[a-z0-9]+:{_REST}+"

_STEP = re.compile(r"([A-Za-z][A-Za-z0-9]*(?:\[x\])?)(?:\[([A-Za-z][A-Za-z0-9]*)\])?")
_FIELD = re.compile(r"(\.\./)?([A-Za-z][A-Za-z0-9]*(?:\[\])?(?:\.[A-Za-z][A-Za-z0-9]*)*)([!?])?")
_USE = re.compile(r"([a-z_]+)(?:\(([^()]*)\))?")
_EACH = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\[\])?")

A = TypeVar("A")
T = TypeVar("T")


def read_spec(root: Path) -> Spec:
    """The mapping set in the folder `root`. Raises MappingInvalid with all that is wrong."""
    shown = root.name
    head, origin = _read(root, root / "mapping.yaml", f"{shown}/mapping.yaml", SET_KEYS)
    wrong: list[Issue] = []
    texts = dict(_collect(wrong, lambda name: (name, str(_set_word(head, name, origin))), WORDS))
    listed = _texts(head, "resources") if _key("resources") in head else []
    if not listed:
        wrong.append(problem("mapping-missing", "'resources' is missing", "list the row files of the set", origin))
    wrong += _repeated(listed)
    files = _collect(wrong, lambda name: read_row_file(root, name), dict.fromkeys(listed))
    paths = sorted((root / "codes").glob("*.csv"))
    tables = _collect(wrong, lambda path: _table(root, path, f"{shown}/codes/{path.name}"), paths)
    ignored = _mapping(head.get(_key("ignored"), {}), origin)
    reasons = dict(_collect(wrong, lambda field: (field, _located(ignored[field], field.origin)), ignored))
    if texts.get("items") == texts.get("identifier") is not None:
        text = "`items` and `identifier` are the same system"
        wrong.append(problem("mapping-systems", text, "give each its own", _word(head, "items", origin).origin))
    if wrong:
        raise MappingInvalid(wrong)
    return Spec(
        root=root,
        **texts,
        anchors=tuple(_texts(head, "anchors")),
        ignored=reasons,
        files=tuple(_with_items(file, texts["items"]) for file in files),
        tables={table.name: table for table in tables},
        origin=origin,
    )


def _set_word(head: dict[Located, Tree], name: str, origin: Origin) -> Located:
    """A word of mapping.yaml: a name that fits into paths and URLs, or an absolute URI where one is wanted."""
    word = _word(head, name, origin)
    if name == "name" and not re.fullmatch(ITEM_ID, word):
        fix = "write letters and digits, with single - _ . between them"
        raise refuse("mapping-value", f"'{word}' is no name for a set", fix, word.origin)
    if name in ("url", "identifier", "items") and not re.fullmatch(URI, word):
        what = f"'{name}' is no absolute URI (http, https or urn)"
        raise refuse("mapping-value", what, "write it like https://example.org/mappings/name", word.origin)
    return word


def _collect(wrong: list[Issue], read: Callable[[A], T], inputs: Iterable[A]) -> list[T]:
    """Reads every input; the issues of those that fail go into `wrong`."""
    out: list[T] = []
    for one in inputs:
        try:
            out.append(read(one))
        except MappingInvalid as error:
            wrong += error.issues
    return out


def _read(root: Path, path: Path, shown: str, keys: tuple[str, ...]) -> tuple[dict[Located, Tree], Origin]:
    """The keys of a file, which must be these, and the place of the first."""
    _stay_inside(root, path, shown)
    tree = _mapping(read_yaml(path, shown), Origin(shown, 1, 1))
    if not tree:
        raise refuse("mapping-yaml", "the file is empty", "see docs/mapping-language.md", Origin(shown, 1, 1))
    _known_keys(tree, keys)
    return tree, next(iter(tree)).origin


def _stay_inside(root: Path, path: Path, shown: str) -> None:
    """Refuses a link that leads out of the set's folder: a set is read by whoever received it."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise refuse("mapping-file", "a link out of the folder of the set", "put the file itself here", Origin(shown))


def _table(root: Path, path: Path, shown: str) -> CodeTable:
    _stay_inside(root, path, shown)
    try:
        return _without_blanks(read_table(path, shown))
    except UnicodeDecodeError as error:
        origin = Origin(shown, error.object[: error.start].count(b"\n") + 1, 1)
        raise refuse("mapping-code-table", "not UTF-8 from this line on", "save the file as UTF-8", origin) from None
    except (csv.Error, OSError) as error:
        what = f"cannot be read: {error}" if isinstance(error, csv.Error) else "cannot be read"
        raise refuse("mapping-code-table", what, 'save it as CSV in UTF-8, cells quoted by "', Origin(shown)) from None


def _without_blanks(table: CodeTable) -> CodeTable:
    """The table. Raises MappingInvalid where a system or code has blanks that a FHIR code and URI cannot have."""
    fix = "remove the blanks around system and code"
    wrong = [
        problem("mapping-code-table", f"a coding of '{term.name}' has blanks around it or in its system", fix, term.origin)
        for term in table.terms.values()
        for coding in term.codings
        if coding.code != coding.code.strip() or coding.system.split() != [coding.system]
    ]
    if wrong:
        raise MappingInvalid(wrong)
    return table


def _repeated(names: list[Located]) -> list[Issue]:
    again = [name for position, name in enumerate(names) if name in names[:position]]
    return [problem("mapping-file", f"'{name}' is listed twice", "remove one", name.origin) for name in again]


def read_row_file(root: Path, name: Located) -> RowFile:
    """One row file. Raises MappingInvalid with every row that cannot be read."""
    path = root / "resources" / f"{name}.yaml"
    shown = f"{root.name}/resources/{name}.yaml"
    if not re.fullmatch(ITEM_ID, name) or not path.is_file():
        near = difflib.get_close_matches(name, [file.stem for file in path.parent.glob("*.yaml")], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        fix = f"create resources/{name}.yaml" if re.fullmatch(ITEM_ID, name) else "name a file of resources/, without .yaml"
        raise refuse("mapping-file", f"there is no row file '{name}'{hint}", fix, name.origin)
    tree, origin = _read(root, path, shown, FILE_KEYS)
    wrong: list[Issue] = []
    words = dict(_collect(wrong, lambda name: (name, _word(tree, name, origin)), ("each", "resource")))
    rows = _collect(wrong, lambda pair: _row(*pair), _mapping(tree.get(_key("rows"), {}), origin).items())
    constants = _collect(wrong, lambda pair: _constant(*pair), _mapping(tree.get(_key("fixed"), {}), origin).items())
    requires = _mapping(tree.get(_key("requires"), {}), origin)
    together = _collect(wrong, lambda pair: (pair[0], tuple(_list(pair[1], pair[0].origin))), requires.items())
    each = _collect(wrong, _each, [words["each"]] if "each" in words else [])
    if wrong:
        raise MappingInvalid(wrong)
    return RowFile(
        name=str(name),
        says=_comment(path),
        each=each[0],
        resource=words["resource"],
        key=tuple(_texts(tree, "key")),
        requires=dict(together),
        rows=tuple(rows),
        constants=tuple(constants),
        origin=origin,
    )


def _row(element: Located, value: Tree) -> Row:
    text = _located(value, element.origin)
    steps, origin = _steps(element), element.origin
    if text.startswith("->"):
        return Row(element, steps, (), None, origin, link=_link(text))
    derived = text.startswith("=")
    left, bar, right = text.removeprefix("=").partition("|")
    use, unknown = _use(right, text.origin) if bar else (Use("text", ()), False)
    fields = tuple(_field(part.strip(), text.origin) for part in left.split(","))
    return Row(element, steps, fields, use, origin, derived=derived, unknown=unknown)


def _link(text: Located) -> str:
    target = text.removeprefix("->").strip()
    if target not in ("patient", "parent"):
        raise refuse("mapping-link", f"'{text}' leads nowhere", "write -> patient or -> parent", text.origin)
    return target


def _constant(element: Located, value: Tree) -> Constant:
    text = _located(value, element.origin)
    left, bar, right = text.partition("|")
    use, unknown = _use(right, text.origin) if bar else (None, False)
    plain = left.strip()
    if unknown or (plain.startswith("$") and plain not in WORDS_FOR_VALUES):
        what = "a constant is always known: 'else unknown' is for rows" if unknown else f"'{plain}' stands for nothing"
        raise refuse("mapping-constant", what, f"write a value, or one of {', '.join(WORDS_FOR_VALUES)}", text.origin)
    return Constant(element, _steps(element), DOUBT if plain == "$doubt" else plain, use, text.origin)


def _with_items(file: RowFile, items: str) -> RowFile:
    """The row file with `$items` replaced by the set's own system for item ids."""
    constants = tuple(
        Constant(one.element, one.steps, items if one.value == "$items" else one.value, one.use, one.origin)
        for one in file.constants
    )
    return RowFile(**{**file.__dict__, "constants": constants})


def _steps(element: Located) -> tuple[Step, ...]:
    found = [_STEP.fullmatch(part) for part in element.split(".")]
    if not all(found):
        raise refuse(
            "mapping-path",
            f"'{element}' is no element path",
            "write it like component[long].valueQuantity: names with dots, a slice label in brackets",
            element.origin,
        )
    return tuple(Step(match[1], match[2] or "") for match in found if match)


def _field(part: str, origin: Origin) -> FieldRef:
    match = _FIELD.fullmatch(part)
    if not match:
        raise refuse(
            "mapping-field",
            f"'{part}' is no field",
            "write name, name!, name?, outer.inner, names[] or ../name",
            origin,
        )
    path = tuple(match[2].replace("[]", "").split("."))
    many = path[:1] if "[]" in match[2] else ()
    return FieldRef(path, many, match[3] == "!", match[3] == "?", bool(match[1]))


def _use(text: str, origin: Origin) -> tuple[Use, bool]:
    call, comma, rest = text.strip().rpartition(",")
    unknown = rest.strip() == "else unknown"
    match = _USE.fullmatch((call if unknown and comma else text).strip())
    if not match:
        raise refuse("mapping-converter", f"'{text.strip()}' is no converter", "write it like concept(labs)", origin)
    arguments = tuple(word.strip() for word in (match[2] or "").split(",") if word.strip())
    return Use(match[1], arguments), unknown


def _each(text: Located) -> tuple[str, ...]:
    if text == ".":
        return ()
    parts = tuple(text.split("."))
    if not all(_EACH.fullmatch(part) for part in parts):
        raise refuse(
            "mapping-each",
            f"'{text}' names no items",
            "write it like labs[] or treatments[].drugs[], or . for the record",
            text.origin,
        )
    return parts


def _comment(path: Path) -> str:
    """The comment at the top of the file: what the reference page says of this kind of datum."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return " ".join(line.lstrip("# ") for line in lines[: next(i for i, x in enumerate([*lines, ""]) if not x.startswith("#"))])


def _key(name: str) -> Located:
    return Located(name, Origin(""))


def _word(tree: dict[Located, Tree], name: str, origin: Origin) -> Located:
    if _key(name) not in tree:
        raise refuse("mapping-missing", f"'{name}' is missing", f"add the line '{name}: …'", origin)
    return _located(tree[_key(name)], _origin_of(tree, name))


def _located(value: Tree, origin: Origin) -> Located:
    if not isinstance(value, Located) or not value:
        raise refuse("mapping-value", "expected a text", "write the value on the same line", origin)
    return value


def _mapping(value: Tree, origin: Origin) -> dict[Located, Tree]:
    if isinstance(value, Located) and not value:
        return {}
    if not isinstance(value, dict):
        raise refuse("mapping-value", "expected lines of the form 'key: value'", "see docs/mapping-language.md", origin)
    return value


def _texts(tree: dict[Located, Tree], name: str) -> list[Located]:
    return _list(tree[_key(name)], _origin_of(tree, name)) if _key(name) in tree else []


def _origin_of(tree: dict[Located, Tree], name: str) -> Origin:
    return next(key.origin for key in tree if key == name)


def _list(value: Tree, origin: Origin) -> list[Located]:
    if not isinstance(value, list):
        raise refuse("mapping-value", "expected a list", "write it like [one, two]", origin)
    return [_located(one, origin) for one in value]


def _known_keys(tree: dict[Located, Tree], known: tuple[str, ...]) -> None:
    issues = []
    for key in tree:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            text = f"'{key}' is not a key of this file{hint}"
            issues.append(problem("mapping-key", text, f"known keys: {', '.join(known)}", key.origin))
    if issues:
        raise MappingInvalid(issues)
