"""A profile that a mapping set claims is met by whatever its form accepts: claims are constants, and depend on no record."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given

from service.bundle.build import build_bundle
from service.fhir.json import dumps
from service.issues import Issue
from service.mapping.compiled import Mapping
from service.mapping.to_fhir import to_resources
from service.validate.validator import Validator, load_validator
from tests.support import registry
from tests.support.strategies import cases

PACKAGES = (registry.TERMINOLOGY, registry.EXTENSIONS, registry.GENOMICS, registry.US_CORE, registry.MCODE)
# Known: tests/golden/profiles.yaml has the reason.
RELATIVE_DATE = re.compile(r"http://hl7\.org/fhir/StructureDefinition/relative-date\b")


@pytest.fixture(scope="module")
def validator() -> Validator:
    return load_validator([registry.needs(registry.fhir_package, name) for name in PACKAGES])


def errors(issues: Iterable[Issue]) -> set[str]:
    return {f"{issue.expression}: {issue.text}" for issue in issues if issue.is_error}


@pytest.mark.network
def test_a_generated_case_meets_the_profiles_that_it_claims(mapping: Mapping, validator: Validator) -> None:
    r4 = load_validator()

    @given(cases(mapping))
    def law(record: Any) -> None:
        mapped, _issues = to_resources(record, mapping, b"key")
        assert mapped is not None
        pairs = zip((entry.full_url for entry in mapped.entries), mapped.resources, strict=True)
        text = dumps(build_bundle(pairs, "collection"))
        # What R4 alone finds is of the form (test_hapi.py), not of the claims.
        found = errors(validator.validate(text)) - errors(r4.validate(text))
        assert [error for error in sorted(found) if not RELATIVE_DATE.search(error)] == []

    law()
