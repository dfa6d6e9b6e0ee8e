"""Casebridge: clinical case records to FHIR R4 and back, by declaration."""

__version__ = "0.1.0"
