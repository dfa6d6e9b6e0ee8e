"""The only importer of fhir.resources: typed R4B models for Python users. They never carry a value through Casebridge."""

from __future__ import annotations

from fhir.resources.R4B.bundle import Bundle

__all__ = ["Bundle", "parse_bundle"]


def parse_bundle(text: bytes) -> Bundle:
    """The model of a Bundle's JSON. Raises pydantic's ValidationError where it does not parse."""
    return Bundle.model_validate_json(text)
