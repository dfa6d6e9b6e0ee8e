"""Synchronisation with a FHIR server: a durable outbox, pushes that are effectively once, pulls that lead back to the case."""
