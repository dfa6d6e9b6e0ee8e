"""The profiles that the golden bundles claim in meta.profile: known to the packages and met, by our judgement and by HAPI's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.fhir import json
from service.issues import Issue
from service.validate.validator import Validator, load_validator
from tests.conftest import ROOT
from tests.support import hapi_validator, registry
from tests.support.hapi_validator import HapiValidator

BUNDLES = sorted((ROOT / "examples" / "bundles").glob("*.json"))
KNOWN = yaml.safe_load((Path(__file__).parent / "profiles.yaml").read_text(encoding="utf-8"))
KNOWN_WARNINGS = yaml.safe_load((Path(__file__).parent / "warnings.yaml").read_text(encoding="utf-8"))
PACKAGES = (registry.TERMINOLOGY, registry.EXTENSIONS, registry.GENOMICS, registry.US_CORE, registry.MCODE)

CLAIMED = {
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-condition-problems-health-concerns",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab",
    "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-cancer-disease-status",
    "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-cancer-patient",
    "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-cancer-related-medication-administration",
    "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-cancer-stage",
    "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-genomic-variant",
    "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-primary-cancer-condition",
}

each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.stem)
needs_packages = pytest.mark.network


def packages() -> list[Path]:
    """The packages of the claimed profiles; the test is skipped where one cannot be had."""
    return [registry.needs(registry.fhir_package, name) for name in PACKAGES]


@pytest.fixture(scope="module")
def validator() -> Validator:
    return load_validator(packages())


@pytest.fixture(scope="module")
def hapi_with_packages() -> Iterator[HapiValidator]:
    if reason := hapi_validator.available():
        pytest.skip(f"HAPI's validator was not asked: {reason}")
    with HapiValidator(packages()) as judge:
        yield judge


def unlisted(messages: Iterable[str], known: Sequence[dict[str, str]]) -> list[str]:
    return [message for message in messages if not any(re.search(one["message"], message) for one in known)]


def unused(messages: Sequence[str], known: Sequence[dict[str, str]]) -> list[str]:
    """Known failures that no longer occur: to be taken off the list."""
    return [one["message"] for one in known if not any(re.search(one["message"], message) for message in messages)]


def errors(issues: Iterable[Issue]) -> list[str]:
    return [f"{issue.expression}: {issue.text}" for issue in issues if issue.is_error]


def claims(bundle: Path) -> list[str]:
    resources: list[dict[str, Any]] = [entry["resource"] for entry in json.loads(bundle.read_bytes())["entry"]]
    return [url for resource in resources for url in resource.get("meta", {}).get("profile", [])]


def test_these_profiles_are_claimed() -> None:
    assert {url for bundle in BUNDLES for url in claims(bundle)} == CLAIMED


@each_bundle
def test_r4_alone_finds_no_error(bundle: Path) -> None:
    assert errors(load_validator().validate(bundle.read_bytes())) == []


@needs_packages
def test_every_claimed_profile_is_known(validator: Validator) -> None:
    assert [url for url in sorted(CLAIMED) if validator.book.registry.structure(url) is None] == []


@needs_packages
@each_bundle
def test_every_claimed_profile_is_met(bundle: Path, validator: Validator) -> None:
    assert errors(validator.validate(bundle.read_bytes())) == []


@pytest.mark.hapi
@pytest.mark.slow
@needs_packages
@each_bundle
def test_hapi_finds_every_claimed_profile_met(bundle: Path, hapi_with_packages: HapiValidator) -> None:
    verdict = hapi_with_packages.validate(bundle.read_bytes())
    found = [error.message for error in verdict.errors]
    assert unlisted(found, KNOWN["errors"]) == []
    assert unused(found, KNOWN["errors"]) == []
    warnings = [warning.message for warning in verdict.warnings]
    assert unlisted(warnings, [*KNOWN["warnings"], *KNOWN_WARNINGS]) == []
