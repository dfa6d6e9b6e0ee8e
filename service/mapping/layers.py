"""The files of a mapping set, layer on layer: a set that extends another changes or adds rows and terms without copying it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from service.errors import MappingInvalid
from service.issues import Issue, Origin
from service.mapping.source import Located, Tree, as_mapping, known_keys, near, problem, read_yaml, refuse
from service.terminology.tables import CodeTable, laid_over, read_table

SET_KEYS = ("extends", "name", "version", "url", "title", "identifier", "items", "anchors", "resources", "ignored")
FILE_KEYS = ("each", "resource", "key", "requires", "fixed", "rows")
Keys = dict[Located, Tree]


def find_layers(root: Path, shelf: Path | None) -> list[tuple[Path, Keys]]:
    """The folders that a set is made of, each with its mapping.yaml, the one that extends nothing first.

    `extends` names a folder beside the set, or one on the `shelf` of shipped sets. Raises MappingInvalid for a name that is
    neither, and for a circle.
    """
    layers: list[tuple[Path, Keys]] = []
    folder: Path | None = root
    while folder is not None:
        head = read_keys(folder, folder / "mapping.yaml", SET_KEYS)
        layers.insert(0, (folder, head))
        folder = _extended(folder, head, shelf, [one.resolve() for one, _head in layers])
    return layers


def _extended(folder: Path, head: Keys, shelf: Path | None, seen: list[Path]) -> Path | None:
    name = head.get(Located("extends", Origin("")))
    if name is None:
        return None
    if not isinstance(name, Located) or not name or "/" in name or "\\" in name or name.startswith("."):
        origin = name.origin if isinstance(name, Located) else next(iter(head)).origin
        raise refuse("mapping-extends", "'extends' takes the name of one set", "write it like extends: myeloma", origin)
    candidates = [place / name for place in (folder.resolve().parent, shelf) if place is not None]
    found = next((one for one in candidates if (one / "mapping.yaml").is_file() and one.resolve() not in seen), None)
    if found is None:
        known = sorted({path.parent.name for one in candidates for path in one.parent.glob("*/mapping.yaml")} - {folder.name})
        text = f"there is no other set '{name}' beside this one or among the shipped ones{near(name, known)}"
        raise refuse("mapping-extends", text, "name a folder that holds a mapping.yaml", name.origin)
    return found


def one_head(layers: Sequence[tuple[Path, Keys]]) -> Keys:
    """mapping.yaml of all layers as one: lists are joined, reasons are laid over one another, all else is the upper one's."""
    out: Keys = {}
    for _root, head in layers:
        for key, value in head.items():
            below = out.pop(key, None)
            out[key] = _joined(below, value)
    return out


def _joined(below: Tree | None, above: Tree) -> Tree:
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *above]
    if isinstance(below, dict) and isinstance(above, dict):
        return {**{key: value for key, value in below.items() if key not in above}, **above}
    return above


def row_file(roots: Sequence[Path], name: Located) -> tuple[Keys, Path] | None:
    """The keys of a row file, each layer's rows laid over those below, and the lowest file; None where there is none."""
    out: Keys = {}
    paths = [(root, root / "resources" / f"{name}.yaml") for root in roots]
    there = [(root, path) for root, path in paths if path.is_file()]
    for root, path in there:
        for key, value in read_keys(root, path, FILE_KEYS).items():
            below = out.pop(key, None)
            out[key] = value if isinstance(value, list) else _joined(below, value)
    return (out, there[0][1]) if there else None


def row_files(roots: Sequence[Path]) -> list[str]:
    return sorted({path.stem for root in roots for path in (root / "resources").glob("*.yaml")})


def code_tables(roots: Sequence[Path], wrong: list[Issue]) -> dict[str, CodeTable]:
    """The code tables; an upper layer's term stands in place of the lower one's. What cannot be read goes into `wrong`."""
    tables: dict[str, CodeTable] = {}
    for root in roots:
        for path in sorted((root / "codes").glob("*.csv")):
            try:
                table = _table(root, path, f"{root.name}/codes/{path.name}")
            except MappingInvalid as error:
                wrong += error.issues
                continue
            below = tables.get(table.name)
            tables[table.name] = laid_over(below, table) if below else table
    return tables


def read_keys(root: Path, path: Path, keys: tuple[str, ...]) -> Keys:
    """The keys of a YAML file, which must be among these. Raises MappingInvalid."""
    shown = f"{root.name}/{path.relative_to(root).as_posix()}"
    _stay_inside(root, path, shown)
    tree = as_mapping(read_yaml(path, shown), Origin(shown, 1, 1))
    if not tree:
        raise refuse("mapping-yaml", "the file is empty", "see docs/mapping-language.md", Origin(shown, 1, 1))
    known_keys(tree, keys)
    return tree


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
