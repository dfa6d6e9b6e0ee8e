"""Codes: bindings of elements to value sets, codings to their code systems, and units to UCUM.

Source: http://hl7.org/fhir/R4/terminologies.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from service.fhir.json import Json
from service.issues import Severity
from service.terminology import ucum
from service.terminology.valuesets import Unchecked
from service.validate.place import Place
from service.validate.run import Rule, Run

if TYPE_CHECKING:
    from service.validate.rulebook import Rulebook
    from service.validate.rules import Element

UCUM: Final = "http://unitsofmeasure.org"
# As many codes as a person reads at a glance.
FEW: Final = 12
QUANTITIES: Final = ("Quantity", "Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity")
RELATIVE: Final = "The code system is named by a relative URL."
# strength → the rule that is broken
BROKEN: Final = {
    "required": "val-binding",
    "extensible": "val-binding-extensible",
    "preferred": "val-binding-preferred",
}
# Value sets under a required binding whose codes nobody can list: a code of odd form is no proof of a fault.
OPEN: Final = ("http://hl7.org/fhir/ValueSet/mimetypes",)
# The types that have to have a code where the binding is this strong; a quantity may go without.
NEEDS_CODE: Final = {
    "val-binding": ("code", "string", "uri", "Coding", "CodeableConcept"),
    "val-binding-extensible": ("CodeableConcept",),
}
MUST: Final = {
    "val-binding": "a code of {0} is required",
    "val-binding-extensible": "a code of {0} is expected unless none fits",
    "val-binding-preferred": "a code of {0} is recommended",
}


def binding(element: Element, _book: Rulebook) -> Rule | None:
    """A code, Coding, CodeableConcept or Quantity is of the value set that the element is bound to."""
    bound = element.definition.binding
    if bound is None or element.code not in _CODES:
        return None
    rules = []
    if bound.value_set and bound.strength in BROKEN:
        rules.append(_bound(bound.value_set, BROKEN[bound.strength], element.code))
    rules += [_bound(url, BROKEN[strength], element.code) for strength, url in bound.additional if strength in BROKEN]
    if bound.max_value_set:
        rules.append(_bound(bound.max_value_set, "val-binding", element.code, is_outer=True))
    if not rules:
        return None
    return rules[0] if len(rules) == 1 else _all(rules)


def coding(run: Run, value: dict[str, Any], at: Place) -> None:
    """A Coding's system, code and display, by the code system's own content."""
    system, code, display = value.get("system"), value.get("code"), value.get("display")
    if not isinstance(system, str):
        return
    if ":" not in system:
        run.add((at, "system", None), "val-code-system", RELATIVE, severity=_gravity(at) if code else None)
        return
    if isinstance(code, str):
        _known(run, at, system, code, display if isinstance(display, str) else None)


def quantity(run: Run, value: dict[str, Any], at: Place) -> None:
    """The code of a quantity in its system; UCUM by its grammar."""
    system, code = value.get("system"), value.get("code")
    if isinstance(system, str) and isinstance(code, str) and ":" not in system:
        run.add((at, "system", None), "val-code-system", RELATIVE, severity="error")
    elif isinstance(system, str) and isinstance(code, str) and system != UCUM:
        _known(run, at, system, code, None)
    elif system == UCUM and isinstance(code, str) and (wrong := ucum.problem(code)):
        run.add((at, "code", None), "val-ucum", f"The unit is no UCUM: {wrong}")


def _gravity(at: Place) -> Severity | None:
    """How grave a wrong system is: a concept can be told by its text and other codings, a coding by itself has nothing else.
    None for what the catalogue says."""
    return None if at is not None and at[1] == "coding" else "error"


def _is_no_system(run: Run, system: str, at: Place) -> bool:
    """Tells where the URL of a value set or of a supplement stands for a code system."""
    record = run.book.registry.code_system(system)
    if record is None and run.book.registry.value_set(system) is not None:
        text = "This is a value set, and no code system."
        run.add((at, "system", None), "val-code-system", text, severity=_gravity(at))
        return True
    if record is not None and record.supplements:
        text = f"This is a supplement: codes are of the system that it adds to, {record.supplements}."
        run.add((at, "system", None), "val-code-system", text, severity="error")
        return True
    return False


def _known(run: Run, at: Place, system: str, code: str, display: str | None) -> None:
    """Tells what is wrong with a code in its system; what was asked before costs a look."""
    verdict = run.book.code(system, code, display)
    if verdict is None or (verdict.known is None and ("val-binding-unchecked", system) in run.said):
        return
    if _is_no_system(run, system, at):
        return
    if verdict.known is False:
        run.add((at, "code", None), "val-code", f"{run.named(system, 'The code system')} has no such code.")
    elif verdict.known is None:
        _unchecked(run, (at, "system", None), system)
    elif verdict.display_ok is False:
        wanted = " or ".join(f"'{each}'" for each in verdict.displays[:3])
        run.add((at, "display", None), "val-display", f"The display is not that of the code system: {wanted}.")


def _unchecked(run: Run, at: Place, system: str) -> None:
    """Says once of a code system or value set that its codes cannot be checked."""
    if ("val-binding-unchecked", system) not in run.said:
        name = run.named(system, "the code system")
        run.add_once(at, "val-binding-unchecked", system, f"Codes of {name} are not checked, for its content is not here.")


def _all(rules: list[Rule]) -> Rule:
    def rule(run: Run, value: Json, at: Place) -> None:
        for each in rules:
            each(run, value, at)

    return rule


def _bound(url: str, broken: str, code: str, *, is_outer: bool = False) -> Rule:
    """The rule for one value set. Of several codings one has to be in it. An outer bound counts only if all of it is known,
    and for codes that are there, as both Java validators have it."""
    url = url.partition("|")[0]
    read = _CODES[code]

    def rule(run: Run, value: Json, at: Place) -> None:
        if code == "code" and run.book.contains(url, None, value if isinstance(value, str) else "") is True:
            return
        unchecked: tuple[str, ...] = ()
        given = False
        for system, each in read(value):
            given = True
            found = run.book.contains(url, system, each)
            if found is True:
                return
            if isinstance(found, Unchecked):
                unchecked += found.systems
        if given and is_outer and not run.book.terminology.is_whole(url):
            unchecked = unchecked or (url,)
        for each in unchecked:
            _unchecked(run, at, each)
        if given and not unchecked:
            text = f"The code is not in the value set: {MUST[broken].format(url)}."
            run.add(at, broken, text, severity=_severity(run, url, broken, code), fix=_choice(run, url))
        elif not given and not is_outer and code in NEEDS_CODE.get(broken, ()):
            run.add(at, broken, f"There is no code: {MUST[broken].format(url)}.", fix=_choice(run, url))

    return rule


def _choice(run: Run, url: str) -> str | None:
    """How to mend a code, where there are few to choose from."""
    codes = run.book.terminology.few(url, FEW)
    return f"Take one of these codes: {', '.join(codes)}." if codes else None


def _severity(run: Run, url: str, broken: str, code: str) -> Severity | None:
    """How grave a code outside a value set is; None for what the catalogue says."""
    if url in OPEN:
        return "warning"
    if code == "code" and broken == "val-binding-extensible" and run.book.terminology.is_whole(url):
        return "error"  # a code without a system can be of no other
    return None


Pairs = Iterator[tuple[str | None, str]]


def _of_text(value: Json) -> Pairs:
    if isinstance(value, str):
        yield None, value


def _of_coding(value: Json) -> Pairs:
    if isinstance(value, dict):
        code, system = value.get("code"), value.get("system")
        if isinstance(code, str):
            # A code without a system has no meaning; it is in no value set.
            yield system if isinstance(system, str) else "", code


def _of_concept(value: Json) -> Pairs:
    codings = value.get("coding") if isinstance(value, dict) else None
    for each in codings if isinstance(codings, list) else ():
        yield from _of_coding(each)


_CODES: Final = {
    "code": _of_text,
    "string": _of_text,
    "uri": _of_text,
    "Coding": _of_coding,
    "CodeableConcept": _of_concept,
    **dict.fromkeys(QUANTITIES, _of_coding),
}


def codes_of(type_name: str, value: Json) -> Pairs:
    """The (system, code) pairs that a value of a type holds."""
    read = _CODES.get(type_name)
    return read(value) if read else iter(())
