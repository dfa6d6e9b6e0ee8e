"""Generates the two functions of a plan, as plain Python: `write` (item → resource) and `read` (resource → item).

The tree is walked once, when the set loads; what runs for each case is straight-line code without paths, loops over rows or
look-ups of converters. `casebridge mappings show SET NAME --code` prints it. For the row `method: method | concept(methods)`:

    f0 = item.get('method')                   v = r.get('method')
    if f0 is not None:                        if v is not None:
        r['method'] = c0(f0, scope)               item['method'] = d0(v, scope)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby, takewhile
from typing import Any

from service.mapping.converters import CONVERTERS
from service.mapping.dispatch import key_of
from service.mapping.moments import DATA_ABSENT
from service.mapping.spec import FieldRef, Row
from service.mapping.tree import IDENTITY, MISSING, Node, Plan

Write = Callable[..., dict[str, Any]]
Read = Callable[..., dict[str, Any]]
ABSENT = {"extension": [{"url": DATA_ABSENT, "valueCode": "unknown"}]}


@dataclass
class Code:
    """Lines under construction, and the objects that they name."""

    lines: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=lambda: {"Decimal": Decimal, "key_of": key_of, "ABSENT": ABSENT})
    count: int = 0

    def add(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def name(self, letter: str, value: Any) -> str:
        name = self.fresh(letter)
        self.names[name] = value
        return name

    def function(self, name: str) -> Any:
        exec(compile("\n".join(self.lines), f"<{name}>", "exec"), self.names)  # noqa: S102  our own text, made from checked rows
        return self.names[name]


def key_function(names: Sequence[str]) -> Callable[[dict[str, Any]], list[Any]]:
    """The function that gives the values of these fields of an item, None for one that is not there."""
    code = Code()
    code.add(0, f"def key(item): return [{', '.join(f'item.get({str(name)!r})' for name in names)}]")
    function: Callable[[dict[str, Any]], list[Any]] = code.function("key")
    return function


def clusters(node: Node) -> Iterator[list[Node]]:
    """Children by JSON name: one node, or the slices of one list."""
    for _name, same in groupby(node.children, key=lambda child: child.name):
        yield list(same)


# --- write ------------------------------------------------------------------------------------------------------------


def source_of_write(plan: Plan) -> Code:
    code = Code()
    code.add(0, "def write(item, up, uuid, parent_url, scope):")
    fields = _Fields(code)
    for leaf in plan.root.leaves():
        if leaf.row:
            fields.load(leaf.row)
    _Writer(code, fields).fill(plan.root, "r", 1, "", fields.required, f"'resourceType': {plan.resource!r}")
    code.add(1, "return r")
    return code


class _Fields:
    """The variables that hold the fields of the item: each is fetched once, at the top."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.variables: dict[str, str] = {}
        self.required: frozenset[str] = frozenset()

    def load(self, row: Row) -> None:
        for ref in row.fields:
            path = ref.many or ref.path
            name = ("../" if ref.up else "") + ".".join(path)
            if name not in self.variables:
                self.variables[name] = self._fetch(path, "up" if ref.up else "item")
            if ref.required and len(ref.path) == 1:
                self.required |= {self.variables[name]}

    def _fetch(self, path: tuple[str, ...], start: str) -> str:
        place = start
        for step in path[:-1]:
            variable = self.code.fresh("o")
            self.code.add(1, f"{variable} = {place}.get({step!r}) or {{}}")
            place = variable
        variable = self.code.fresh("f")
        self.code.add(1, f"{variable} = {place}.get({path[-1]!r})")
        return variable

    def of(self, ref: FieldRef, element: str) -> str:
        """The expression for a field; `element` is the variable of the loop, where its list is being walked."""
        if ref.many and element:
            rest = ref.path[len(ref.many) :]
            return f"{element}.get({rest[0]!r})" if rest else element
        return self.variables[("../" if ref.up else "") + ".".join(ref.many or ref.path)]


@dataclass
class _Writer:
    """`known` are the variables that are not None where the line stands: what rests on them alone needs no condition."""

    code: Code
    fields: _Fields

    def fill(self, node: Node, out: str, depth: int, element: str, known: frozenset[str], head: str = "") -> None:
        """Makes `out` the object of a node: a literal as far as its members are certain, then one statement a member."""
        members = [(same, self._member(same, element, known)) for same in clusters(node)]
        certain = list(takewhile(lambda pair: pair[1] is not None, members))
        literal = ", ".join([head] * bool(head) + [f"{same[0].name!r}: {value}" for same, value in certain])
        self.code.add(depth, f"{out} = {{{literal}}}")
        for same, value in members[len(certain) :]:
            if value is not None:
                self.code.add(depth, f"{out}[{same[0].name!r}] = {value}")
            elif same[0].element.is_list:
                self._list(same, out, depth, element, known)
            elif same[0].children:
                self._nested(same[0], out, depth, element, known)
            else:
                for leaf in same:
                    self._leaf(leaf, out, depth, element)

    def _member(self, same: list[Node], element: str, known: frozenset[str]) -> str | None:
        """The expression of a member that is certain to be there; None for one that is not."""
        values = [self._certain(node, element, known) for node in same]
        if None in values or (len(values) > 1 and not same[0].element.is_list):
            return None
        return f"[{', '.join(map(str, values))}]" if same[0].element.is_list else values[0]

    def _certain(self, node: Node, element: str, known: frozenset[str]) -> str | None:
        if node.children:
            members = [(same[0].name, self._member(same, element, known)) for same in clusters(node)]
            if any(value is None for _name, value in members):
                return None
            return "{" + ", ".join(f"{name!r}: {value}" for name, value in members) + "}"
        row = node.row
        if row and row.fields:
            needed = {self.fields.of(ref, element) for ref in row.fields if not ref.optional}
            open_list = bool(row.fields[0].many and not element)
            if row.derived or row.unknown or open_list or (node.bound and node.bound.merging) or not needed <= known:
                return None
        return self._value(node, element)

    def _nested(self, node: Node, out: str, depth: int, element: str, known: frozenset[str]) -> None:
        inner = self.code.fresh("g")
        depth, known = self._when(node, depth, element, known)
        self.fill(node, inner, depth, element, known)
        self.code.add(depth, f"{out}[{node.name!r}] = {inner}")

    def _when(self, node: Node, depth: int, element: str, known: frozenset[str]) -> tuple[int, frozenset[str]]:
        """Opens the condition under which a group appears, one of its fields being there; and what is known inside."""
        triggers = list(dict.fromkeys(self.fields.of(ref, element) for ref in node.triggers()))
        if not triggers or known & set(triggers):
            return depth, known
        self.code.add(depth, f"if {' or '.join(f'{name} is not None' for name in triggers)}:")
        return depth + 1, known | set(triggers) if len(triggers) == 1 else known

    def _list(self, slices: list[Node], out: str, depth: int, element: str, known: frozenset[str]) -> None:
        (first, *more) = slices
        if not more and not first.children:
            self._list_leaf(first, out, depth, element)
            return
        inner = self.code.fresh("l")
        values = [self._certain(node, element, known) for node in slices]
        certain = list(takewhile(lambda value: value is not None, values))
        start = f"{out}[{first.name!r}] = " if certain else ""
        self.code.add(depth, f"{inner} = {start}[{', '.join(map(str, certain))}]")
        for node in slices[len(certain) :]:
            self._slice(node, inner, depth, element, known)
        if not certain:
            self.code.add(depth, f"if {inner}:")
            self.code.add(depth + 1, f"{out}[{first.name!r}] = {inner}")

    def _slice(self, node: Node, out: str, depth: int, element: str, known: frozenset[str]) -> None:
        many = next((ref for ref in node.triggers() if ref.many), None)
        if many and not element:
            element = self.code.fresh("e")
            self.code.add(depth, f"for {element} in {self.fields.of(many, '')} or ():")
            depth, known = depth + 1, known | {element}
        else:
            depth, known = self._when(node, depth, element, known)
        value = self._certain(node, element, known)
        if value is None:
            value = self.code.fresh("g")
            self.fill(node, value, depth, element, known)
        self.code.add(depth, f"{out}.append({value})")

    def _list_leaf(self, node: Node, out: str, depth: int, element: str) -> None:
        row = node.row
        if row and row.fields and row.fields[0].many and not element:
            loop = self.code.fresh("e")
            values = self.fields.of(row.fields[0], "")
            self.code.add(depth, f"if {values} is not None:")
            self.code.add(depth + 1, f"{out}[{node.name!r}] = [{self._value(node, loop)} for {loop} in {values}]")
        else:
            depth = self._condition(node, depth, element)
            self.code.add(depth, f"{out}[{node.name!r}] = [{self._value(node, element)}]")

    def _leaf(self, node: Node, out: str, depth: int, element: str) -> None:
        row, bound = node.row, node.bound
        inside = self._condition(node, depth, element)
        if row and bound and bound.merging:
            call = self.code.name("c", bound.to_fhir)
            self.code.add(inside, f"{call}({out}, {node.name!r}, {self._arguments(row, element)}, scope)")
        else:
            self.code.add(inside, f"{out}[{node.name!r}] = {self._value(node, element)}")
        if row and row.unknown:
            name = node.name + "Period" if bound and bound.merging else node.name
            self.code.add(depth, "else:")
            self.code.add(inside, f"{out}[{name!r}] = {ABSENT!r}")

    def _condition(self, node: Node, depth: int, element: str) -> int:
        row, bound = node.row, node.bound
        if row is None or not row.fields:
            return depth
        names = [self.fields.of(ref, element) for ref in row.fields if not ref.optional]
        test = " or ".join(f"{name} is not None" for name in names) if bound and bound.merging else f"{names[0]} is not None"
        if row.derived and bound and bound.table:
            # A derived row says what else the term means, where its table knows; a term that it lacks adds nothing.
            test = f"{names[0]} in {self.code.name('t', frozenset(bound.table.terms))}"
        self.code.add(depth, f"if {test}:")
        return depth + 1

    def _value(self, node: Node, element: str) -> str:
        row, bound = node.row, node.bound
        if node.constant is not MISSING:
            return "uuid" if node.constant == IDENTITY else repr(node.constant)
        assert row is not None
        if row.link:
            return "{'reference': scope.patient_url}" if row.link == "patient" else "{'reference': parent_url}"
        assert bound is not None
        if bound.identity:
            return self.fields.of(row.fields[0], element)
        return f"{self.code.name('c', bound.to_fhir)}({self._arguments(row, element)}, scope)"

    def _arguments(self, row: Row, element: str) -> str:
        assert row.use is not None
        given = [self.fields.of(ref, element) for ref in row.fields]
        return ", ".join(given + ["None"] * (CONVERTERS[row.use.converter].fields[1] - len(given)))


# --- read -------------------------------------------------------------------------------------------------------------


def source_of_read(plan: Plan) -> Code:
    code = Code()
    code.add(0, "def read(r, up, scope):")
    code.add(1, "item = {}")
    _Reader(code).group(plan.root, "r", 1, "item", "")
    code.add(1, "return item")
    return code


@dataclass
class _Reader:
    code: Code

    def group(self, node: Node, source: str, depth: int, item: str, many: str) -> None:
        for same in clusters(node):
            if not any(leaf.row and leaf.bound and not leaf.row.derived for one in same for leaf in one.leaves()):
                continue
            if not same[0].element.is_list:
                for one in same:
                    self._single(one, source, depth, item, many)
            elif same[0].children:
                self._slices(same, source, depth, item)
            else:
                self._list_leaf(same[0], source, depth, item, many)

    def _single(self, node: Node, source: str, depth: int, item: str, many: str) -> None:
        if node.children:
            inner = self.code.fresh("g")
            self.code.add(depth, f"{inner} = {source}.get({node.name!r})")
            self.code.add(depth, f"if {inner} is not None:")
            self.group(node, inner, depth + 1, item, many)
        elif node.bound and node.bound.merging:
            self._merging(node, source, depth, item)
        else:
            value = self.code.fresh("v")
            self.code.add(depth, f"{value} = {source}.get({node.name!r})")
            absent = f" and {value} != ABSENT" if node.row and node.row.unknown else ""
            self.code.add(depth, f"if {value} is not None{absent}:")
            self._assign(node, value, depth + 1, item, many)

    def _merging(self, node: Node, source: str, depth: int, item: str) -> None:
        assert node.row
        assert node.bound
        above = next((ref for ref in node.row.fields if ref.up), None)
        inherited = f"up.get({above.path[0]!r})" if above else "None"
        value = self.code.fresh("v")
        call = self.code.name("d", node.bound.to_case)
        self.code.add(depth, f"{value} = {call}({source}, {node.name!r}, {inherited}, scope)")
        self.code.add(depth, f"if {value} is not None:")
        self.code.add(depth + 1, f"{self._place(node.row.fields[0], item)} = {value}")

    def _list_leaf(self, node: Node, source: str, depth: int, item: str, many: str) -> None:
        assert node.row
        values, one = self.code.fresh("v"), self.code.fresh("e")
        self.code.add(depth, f"{values} = {source}.get({node.name!r})")
        self.code.add(depth, f"if {values}:")
        ref = node.row.fields[0]
        if ref.many and not many:
            self.code.add(depth + 1, f"{self._place(ref, item)} = [{self._back(node, one)} for {one} in {values}]")
        else:
            self._assign(node, f"{values}[0]", depth + 1, item, many)

    def _slices(self, slices: list[Node], source: str, depth: int, item: str) -> None:
        one = self.code.fresh("e")
        self.code.add(depth, f"for {one} in {source}.get({slices[0].name!r}, ()):")
        word = "if"
        for node in sorted(slices, key=lambda node: not _marks(node)):
            tests = [f"key_of({one}.get({name!r})) == {key!r}" for name, key in _marks(node)]
            self.code.add(depth + 1, f"{word} {' and '.join(tests) or 'True'}:")
            self._slice(node, one, depth + 2, item)
            word = "elif"

    def _slice(self, node: Node, source: str, depth: int, item: str) -> None:
        many = next((ref for ref in node.triggers() if ref.many), None)
        if many is None:
            self.code.add(depth, "pass")
            self.group(node, source, depth, item, "")
        elif many.path == many.many:
            self.group(node, source, depth, item, f"{item}.setdefault({many.path[0]!r}, []).append")
        else:
            inner = self.code.fresh("n")
            self.code.add(depth, f"{inner} = {{}}")
            self.group(node, source, depth, inner, "fields")
            self.code.add(depth, f"{item}.setdefault({many.many[0]!r}, []).append({inner})")

    def _assign(self, node: Node, value: str, depth: int, item: str, many: str) -> None:
        assert node.row
        assert node.bound
        refs = [ref for ref in node.row.fields if not ref.up]
        if many.endswith("append"):
            self.code.add(depth, f"{many}({self._back(node, value)})")
        elif CONVERTERS[node.row.use.converter if node.row.use else ""].fields[1] == 1:
            self.code.add(depth, f"{self._place(refs[0], item, inside=bool(many))} = {self._back(node, value)}")
        else:
            self._assign_several(node, refs, value, depth, item)

    def _assign_several(self, node: Node, refs: list[FieldRef], value: str, depth: int, item: str) -> None:
        assert node.bound
        names = [self.code.fresh("x") for _form in node.bound.forms]
        self.code.add(depth, f"{', '.join(names)} = {self._back(node, value)}")
        for ref, name in zip(refs, names, strict=False):
            self.code.add(depth, f"if {name} is not None:")
            self.code.add(depth + 1, f"{self._place(ref, item)} = {name}")

    def _back(self, node: Node, value: str) -> str:
        assert node.bound
        return value if node.bound.identity else f"{self.code.name('d', node.bound.to_case)}({value}, scope)"

    def _place(self, ref: FieldRef, item: str, *, inside: bool = False) -> str:
        path = ref.path[len(ref.many) :] if inside else ref.path
        for step in path[:-1]:
            item = f"{item}.setdefault({step!r}, {{}})"
        return f"{item}[{path[-1]!r}]"


def _marks(node: Node) -> list[tuple[str, str]]:
    """The constants directly in a slice: what tells its entries from those of the other slices."""
    found = [(child.name, key_of(child.constant)) for child in node.children if child.constant is not MISSING]
    return [(name, key) for name, key in found if key != IDENTITY]
