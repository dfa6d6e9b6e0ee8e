"""Whatever stands in the files of a set, loading it either works or raises MappingInvalid with places and remedies."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import MappingInvalid
from service.mapping.compiled import load_mapping

ROOT = Path(__file__).parents[3]
REAL = ROOT / "mappings" / "myeloma"
TINY = ROOT / "tests" / "data" / "bad_mappings" / "good_nested"
ROW_FILES = sorted((REAL / "resources").glob("*.yaml"))
# What a row file is made of, taken from the real ones: any of it may stand in any place.
TOKENS = sorted(
    {token for path in ROW_FILES for token in re.findall(r"[A-Za-z$.\[\]!?]+|\n +|[^\s\w]", path.read_text("utf-8"))}
)
STRANGE = [
    "\t",
    "\x00",
    "\ufeff",
    "\u2028",
    "é",
    "&a ",
    "*a",
    "!!int ",
    "- ",
    "? ",
    "{",
    "[",
    "'",
    '"',
    "|",
    ">",
    "%",
    "---\n",
    "#",
]

SLOW = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
QUICK = settings(SLOW, max_examples=250)


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    """The text with a few places cut, doubled, exchanged or filled."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        filling = draw(
            st.sampled_from(["", text[start:end] * 2])
            | st.sampled_from(TOKENS)
            | st.sampled_from(STRANGE)
            | st.text(max_size=8)
            | st.lists(st.sampled_from(TOKENS), max_size=4).map("".join)
        )
        text = text[:start] + filling + text[end:]
    return text


@st.composite
def exchanged(draw: st.DrawFn, text: str) -> str:
    """The text with whole words exchanged for others, so that most of it still is YAML."""
    words = re.split(r"([A-Za-z$.\[\]!?=]+)", text)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(words) // 2 - 1)) * 2 + 1
        words[place] = draw(st.sampled_from(TOKENS) | st.sampled_from(words[1::2]))
    return "".join(words)


def load_and_judge(root: Path) -> None:
    try:
        mapping = load_mapping(root)
    except MappingInvalid as refusal:
        found = refusal.issues
    else:
        mapping.accepts.is_valid({})
        assert mapping.case_field in mapping.form.fields
        return
    assert found
    for issue in found:
        assert issue.origin is not None
        assert issue.origin.file.startswith(root.name + "/"), issue
        assert issue.fix, issue


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(TINY, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize("name", ["mapping.yaml", "resources/labs.yaml", "resources/patient.yaml", "codes/labs.csv"])
@QUICK
@given(data=st.data())
def test_a_file_of_a_tiny_set(tiny: Path, name: str, data: st.DataObject) -> None:
    path = tiny / name
    whole = (TINY / name).read_text("utf-8")
    path.write_bytes(data.draw(mutated(whole) | exchanged(whole)).encode("utf-8", "surrogatepass"))
    load_and_judge(tiny)


@SLOW
@given(bytes_=st.binary(max_size=60))
def test_bytes_in_a_code_table(tiny: Path, bytes_: bytes) -> None:
    (tiny / "codes/labs.csv").write_bytes((TINY / "codes/labs.csv").read_bytes() + bytes_)
    load_and_judge(tiny)


@SLOW
@given(data=st.data())
def test_a_row_file_of_the_real_set(tmp_path: Path, data: st.DataObject) -> None:
    root = tmp_path / "myeloma"
    if not root.exists():
        shutil.copytree(REAL, root)
    path = data.draw(st.sampled_from(ROW_FILES))
    whole = path.read_text("utf-8")
    (root / "resources" / path.name).write_bytes(data.draw(mutated(whole) | exchanged(whole)).encode("utf-8", "surrogatepass"))
    try:
        load_and_judge(root)
    finally:
        shutil.copy(path, root / "resources" / path.name)


def test_links_out_of_the_folder(tiny: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("each: secret", "utf-8")
    for name in ("mapping.yaml", "resources/labs.yaml", "codes/labs.csv"):
        path = tiny / name
        kept = path.read_bytes()
        path.unlink()
        path.symlink_to(secret)
        with pytest.raises(MappingInvalid, match="a link out of the folder"):
            load_mapping(tiny)
        path.unlink()
        path.write_bytes(kept)
    load_mapping(tiny)


def test_brackets_without_end(tiny: Path) -> None:
    (tiny / "resources/labs.yaml").write_text("[" * 2_000_000, "utf-8")
    with pytest.raises(MappingInvalid, match="nested deeper"):
        load_mapping(tiny)
