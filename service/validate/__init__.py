"""Validation offline, as HL7's own validator would judge, by rules compiled from HL7's own definitions: see validator.py."""
