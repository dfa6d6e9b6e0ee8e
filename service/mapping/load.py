"""Reads the files of a mapping set into a Spec. Every error of every file is reported, each with file, line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from service.case.form import ITEM_ID
from service.errors import MappingInvalid
from service.issues import Issue, Origin
from service.mapping.layers import code_tables, find_layers, one_head, row_file, row_files
from service.mapping.source import Located, Tree, as_mapping, near, problem, refuse
from service.mapping.spec import Constant, FieldRef, Row, RowFile, Spec, Step, Use

WORDS = ("name", "version", "url", "title", "identifier", "items")
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


def read_spec(root: Path, shelf: Path | None = None) -> Spec:
    """The mapping set in the folder `root`, with what it extends: a set beside it, or one on the `shelf`.

    Raises MappingInvalid with all that is wrong.
    """
    layers = find_layers(root, shelf)
    roots = [folder for folder, _head in layers]
    head = one_head(layers)
    origin = next(iter(layers[-1][1])).origin
    wrong: list[Issue] = []
    texts = dict(_collect(wrong, lambda name: (name, str(_set_word(head, name, origin))), WORDS))
    listed = _texts(head, "resources") if _key("resources") in head else []
    if not listed:
        wrong.append(problem("mapping-missing", "'resources' is missing", "list the row files of the set", origin))
    wrong += _repeated(listed)
    files = _collect(wrong, lambda name: read_row_file(roots, name), dict.fromkeys(listed))
    tables = code_tables(roots, wrong)
    ignored = as_mapping(head.get(_key("ignored"), {}), origin)
    reasons = dict(_collect(wrong, lambda field: (field, _located(ignored[field], field.origin)), ignored))
    if texts.get("items") == texts.get("identifier") is not None:
        text = "`items` and `identifier` are the same system"
        wrong.append(problem("mapping-systems", text, "give each its own", _word(head, "items", origin).origin))
    if wrong:
        raise MappingInvalid(wrong)
    return Spec(
        root=root,
        layers=tuple(roots),
        **texts,
        anchors=tuple(_texts(head, "anchors")),
        ignored=reasons,
        files=tuple(_with_items(file, texts["items"]) for file in files),
        tables=tables,
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


def _repeated(names: list[Located]) -> list[Issue]:
    again = [name for position, name in enumerate(names) if name in names[:position]]
    return [problem("mapping-file", f"'{name}' is listed twice", "remove one", name.origin) for name in again]


def read_row_file(roots: Sequence[Path], name: Located) -> RowFile:
    """One row file, all layers of it. Raises MappingInvalid with every row that cannot be read."""
    found = row_file(roots, name) if re.fullmatch(ITEM_ID, name) else None
    if found is None:
        fix = f"create resources/{name}.yaml" if re.fullmatch(ITEM_ID, name) else "name a file of resources/, without .yaml"
        text = f"there is no row file '{name}'{near(name, row_files(roots))}"
        raise refuse("mapping-file", text, fix, name.origin)
    tree, path = found
    origin = next(iter(tree)).origin
    wrong: list[Issue] = []
    words = dict(_collect(wrong, lambda name: (name, _word(tree, name, origin)), ("each", "resource")))
    rows = _collect(wrong, lambda pair: _row(*pair), as_mapping(tree.get(_key("rows"), {}), origin).items())
    constants = _collect(wrong, lambda pair: _constant(*pair), as_mapping(tree.get(_key("fixed"), {}), origin).items())
    requires = as_mapping(tree.get(_key("requires"), {}), origin)
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


def _texts(tree: dict[Located, Tree], name: str) -> list[Located]:
    return _list(tree[_key(name)], _origin_of(tree, name)) if _key(name) in tree else []


def _origin_of(tree: dict[Located, Tree], name: str) -> Origin:
    return next(key.origin for key in tree if key == name)


def _list(value: Tree, origin: Origin) -> list[Located]:
    if not isinstance(value, list):
        raise refuse("mapping-value", "expected a list", "write it like [one, two]", origin)
    return [_located(one, origin) for one in value]
