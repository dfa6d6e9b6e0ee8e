"""FHIR R4 itself: the strict JSON door, primitives, element definitions. Knows nothing of cases or mappings."""
