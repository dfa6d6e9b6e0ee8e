"""The mapping language: reading a set, holding it against FHIR R4, compiling it, and running it both ways."""
