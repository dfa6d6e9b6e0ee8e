"""The rulebook: everything compiled from the definitions at hand, made when it is first asked for and then kept.

Shared by threads: whoever comes first compiles, and whoever compiles at the same time makes an equal thing.
"""

from __future__ import annotations

from typing import Final

from service.fhir.definitions import CORE, UnknownElement, load
from service.fhir.structures import ElementDefinition, StructureDefinition
from service.terminology.valuesets import CodeVerdict, Terminology, Unchecked
from service.validate import conformance
from service.validate.fhirpath import Context, Node
from service.validate.packages import Registry, core
from service.validate.profiles import ProfileElement, compile_profile
from service.validate.references import resolve
from service.validate.run import Run, Scope
from service.validate.shapes import Shape, compile_type
from service.validate.snapshot import NoSnapshot, snapshot

MOST_KEPT: Final = 100_000
# What is longer is not kept: it is no code that comes again, and would fill the memory.
MOST_CHARACTERS: Final = 500


class Rulebook:
    """What rules and the walker ask for. `shapes`: type → its shape, as far as compiled."""

    meets_one_of = staticmethod(conformance.meets_one_of)
    refers_to_one_of = staticmethod(conformance.refers_to_one_of)
    check_extension = staticmethod(conformance.check_extension)
    node_meets = staticmethod(conformance.node_meets)

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.terminology = Terminology(registry.value_set, registry.code_system)
        self.shapes: dict[str, Shape] = {}
        self._trees: dict[str, ProfileElement | None] = {}
        self._bases: dict[str, dict[str, ElementDefinition]] = {}
        self._named: dict[str, bool] = {}
        self._codes: dict[tuple[str, str, str | None], CodeVerdict | None] = {}

    # Types

    def shape(self, type_name: str) -> Shape:
        """The shape of a type of R4. Raises KeyError where there is none."""
        if type_name not in self.shapes:
            # Not from the registry: R4's types are as R4 has them, whatever a package says of them.
            definition = core().get("StructureDefinition", CORE + type_name)
            if definition is None:
                raise KeyError(type_name)
            compile_type(definition, self)
        return self.shapes[type_name]

    def resource_shape(self, type_name: str) -> Shape | None:
        return self.shape(type_name) if self.is_resource(type_name) else None

    @staticmethod
    def resource_types() -> list[str]:
        return [name for name, found in load().types.items() if found.kind == "resource" and not found.abstract]

    @staticmethod
    def is_resource(type_name: str) -> bool:
        found = load().type(type_name)
        return found is not None and found.kind == "resource" and not found.abstract

    @staticmethod
    def is_a(type_name: str, ancestor: str) -> bool:
        """Whether a type is another or descends from it."""
        name: str | None = type_name
        while name and name != ancestor:
            found = load().type(name)
            name = found.base if found else None
        return name == ancestor

    # Profiles

    def structure(self, url: str) -> StructureDefinition | None:
        return self.registry.structure(url)

    def snapshot(self, definition: StructureDefinition) -> tuple[ElementDefinition, ...]:
        """Raises NoSnapshot."""
        return snapshot(definition, self.registry.structure)

    def tree(self, url: str) -> ProfileElement | None:
        """What a profile adds to its type; None where it is not here, or has no snapshot and none can be made."""
        url = url.partition("|")[0]
        if url not in self._trees:
            definition = self.registry.structure(url)
            if definition is None:
                return None
            try:
                self._trees[url] = compile_profile(definition, self)
            except (NoSnapshot, UnknownElement, RecursionError):  # of types that R4 does not know, or nested without end
                self._trees[url] = None
        return self._trees[url]

    def base(self, type_name: str, path: str) -> ElementDefinition:
        """What a type of R4 says of one of its elements. Raises UnknownElement."""
        if type_name not in self._bases:
            definition = core().get("StructureDefinition", CORE + type_name)
            elements = definition.snapshot if definition else ()
            self._bases[type_name] = {each.path.partition(".")[2]: each for each in elements}
        found = self._bases[type_name].get(path)
        if found is None:
            load().resolve(type_name, path)
            raise UnknownElement(type_name, path, path, f"{type_name}.{path} goes by another name in its definition", ())
        return found

    def type_of_profile(self, url: str) -> str | None:
        """The type that a profile is of, or that a URL of FHIR's own names; None where it is not here."""
        definition = self.registry.structure(url)
        return definition.type if definition else None

    # Codes

    def contains(self, value_set: str, system: str | None, code: str) -> bool | Unchecked:
        return self.terminology.contains(value_set, system, code)

    def code(self, system: str, code: str, display: str | None) -> CodeVerdict | None:
        """What is wrong with a code in its system; None where nothing is."""
        key = (system, code, display)
        try:
            return self._codes[key]
        except KeyError:
            verdict: CodeVerdict | None = self.terminology.code(system, code, display)
            if verdict is not None and verdict.known and verdict.display_ok is not False and not self._adds_to(system):
                verdict = None
            if len(self._codes) < MOST_KEPT and len(system) + len(code) + len(display or "") < MOST_CHARACTERS:
                self._codes[key] = verdict
            return verdict

    def _adds_to(self, system: str) -> bool:
        """Whether a code system is a supplement, whose codes are those of another."""
        record = self.registry.code_system(system)
        return record is not None and bool(record.supplements)

    def names(self, url: str) -> bool:
        """Whether any definition at hand names a URL: then it is no secret, wherever it stands."""
        if url not in self._named:
            if len(self._named) >= MOST_KEPT:
                self._named.clear()
            self._named[url] = any(package.names(url) for package in self.registry.packages)
        return self._named[url]

    def is_bound(self, value_set: str, node: Node) -> bool:
        """Whether a code, Coding or CodeableConcept has a code of a value set."""
        from service.validate.codes import codes_of

        pairs = codes_of(node.type.name, node.value)
        return any(self.contains(value_set.partition("|")[0], system, code) is True for system, code in pairs)

    # FHIRPath

    @staticmethod
    def path_context(run: Run, scope: Scope) -> Context:
        """What expressions on a resource may ask: the resources around it, value sets and profiles."""

        def resolved(literal: str, _context: Context) -> Node | None:
            with run.inside(scope):
                found = resolve(run, literal)
            return found.node if found else None

        def member_of(value_set: str, system: str | None, code: str) -> bool | None:
            found = run.book.contains(value_set, system, code)
            return found if isinstance(found, bool) else None

        def conforms_to(node: Node, url: str) -> bool | None:
            return conformance.node_meets(run, node, url)

        return Context(
            resource=scope.node, root=scope.root.node, resolve=resolved, member_of=member_of, conforms_to=conforms_to
        )
