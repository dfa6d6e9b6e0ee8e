"""Reads the files of a mapping set into a Spec. Every error of every file is reported, each with file, line and column."""

from __future__ import annotations

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
from service.terminology.tables import read_table

SET_KEYS = ("name", "version", "url", "title", "identifier", "items", "anchors", "resources", "ignored")
FILE_KEYS = ("each", "resource", "key", "requires", "fixed", "rows")
# The author under whom a doubt of the one who keyed the case stands in a note, apart from other notes.
DOUBT = "Doubt about the source"

_STEP = re.compile(r"([A-Za-z]+(?:\[x\])?)(?:\[([A-Za-z][A-Za-z0-9]*)\])?")
_FIELD = re.compile(r"(\.\./)?([A-Za-z][A-Za-z0-9]*(?:\[\])?(?:\.[A-Za-z][A-Za-z0-9]*)*)([!?])?")
_USE = re.compile(r"([a-z_]+)(?:\(([^()]*)\))?")
_EACH = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\[\])?")

T = TypeVar("T")


def read_spec(root: Path) -> Spec:
    """The mapping set in the folder `root`. Raises MappingInvalid with all that is wrong."""
    shown = root.name
    head = _mapping(read_yaml(root / "mapping.yaml", f"{shown}/mapping.yaml"), Origin(f"{shown}/mapping.yaml", 1, 1))
    _known_keys(head, SET_KEYS)
    origin = next(iter(head)).origin
    files = _all(read_row_file, ((root, name) for name in _texts(head, "resources")))
    tables = _all(lambda path: read_table(path, f"{shown}/codes/{path.name}"), sorted((root / "codes").glob("*.csv")))
    ignored = _mapping(head.get(_key("ignored"), {}), origin)
    words = {name: str(_word(head, name, origin)) for name in ("name", "version", "url", "title", "identifier", "items")}
    return Spec(
        root=root,
        **words,
        anchors=tuple(_texts(head, "anchors")),
        ignored={field: _located(reason, field.origin) for field, reason in ignored.items()},
        files=tuple(_with_items(file, words["items"]) for file in files),
        tables={table.name: table for table in tables},
        origin=origin,
    )


def _all(read: Callable[..., T], inputs: Iterable[object]) -> list[T]:
    """Reads every input and raises the issues of all that fail together."""
    out: list[T] = []
    issues: list[Issue] = []
    for one in inputs:
        try:
            out.append(read(*one) if isinstance(one, tuple) else read(one))
        except MappingInvalid as error:
            issues += error.issues
    if issues:
        raise MappingInvalid(issues)
    return out


def read_row_file(root: Path, name: Located) -> RowFile:
    """One row file. Raises MappingInvalid with every row that cannot be read."""
    path = root / "resources" / f"{name}.yaml"
    shown = f"{root.name}/resources/{name}.yaml"
    if not re.fullmatch(ITEM_ID, name) or not path.is_file():
        near = difflib.get_close_matches(name, [file.stem for file in path.parent.glob("*.yaml")], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise refuse("mapping-file", f"there is no row file '{name}'{hint}", f"create resources/{name}.yaml", name.origin)
    tree = _mapping(read_yaml(path, shown), Origin(shown, 1, 1))
    _known_keys(tree, FILE_KEYS)
    origin = next(iter(tree)).origin
    each = _word(tree, "each", origin)
    rows = _all(_row, _mapping(tree.get(_key("rows"), {}), origin).items())
    constants = _all(_constant, _mapping(tree.get(_key("fixed"), {}), origin).items())
    requires = _mapping(tree.get(_key("requires"), {}), origin)
    return RowFile(
        name=str(name),
        says=_comment(path),
        each=() if each == "." else _each(each),
        resource=_word(tree, "resource", origin),
        key=tuple(_texts(tree, "key")),
        requires={field: tuple(_list(others, field.origin)) for field, others in requires.items()},
        rows=tuple(rows),
        constants=tuple(constants),
        origin=origin,
    )


def _row(element: Located, value: Tree) -> Row:
    text = _located(value, element.origin)
    steps, origin = _steps(element), element.origin
    if text in ("-> patient", "-> parent"):
        return Row(element, steps, (), None, origin, link=text[3:])
    derived = text.startswith("=")
    left, bar, right = text.removeprefix("=").partition("|")
    use, unknown = _use(right, text.origin) if bar else (Use("text", ()), False)
    fields = tuple(_field(part.strip(), text.origin) for part in left.split(","))
    return Row(element, steps, fields, use, origin, derived=derived, unknown=unknown)


def _constant(element: Located, value: Tree) -> Constant:
    text = _located(value, element.origin)
    left, bar, right = text.partition("|")
    use = _use(right, text.origin)[0] if bar else None
    plain = left.strip()
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
    parts = tuple(text.split("."))
    if not all(_EACH.fullmatch(part) for part in parts):
        raise refuse("mapping-each", f"'{text}' names no items", "write it like labs[] or treatments[].drugs[]", text.origin)
    return parts


def _comment(path: Path) -> str:
    """The comment at the top of the file: what the reference page says of this kind of datum."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in lines[: next(i for i, x in enumerate([*lines, ""]) if not x.startswith("#"))])


def _key(name: str) -> Located:
    return Located(name, Origin(""))


def _word(tree: dict[Located, Tree], name: str, origin: Origin) -> Located:
    value = tree.get(_key(name))
    if not isinstance(value, Located) or not value:
        raise refuse("mapping-missing", f"'{name}' is missing", f"add the line '{name}: …'", origin)
    return value


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
    return _list(tree.get(_key(name), []), Origin(""))


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
