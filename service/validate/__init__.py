"""Validation. So far: the typed models of fhir.resources, as a second reader of what is produced."""
