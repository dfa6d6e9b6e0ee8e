"""Vital signs: an Observation with one of their codes meets their profile, claimed or not.

Source: http://hl7.org/fhir/R4/observation-vitalsigns.html, "Vital Signs Profile": these profiles are required.
"""

from __future__ import annotations

from typing import Any, Final

from service.validate.conformance import against
from service.validate.place import Place
from service.validate.run import Run

LOINC: Final = "http://loinc.org"
# LOINC code → the name of the profile below http://hl7.org/fhir/StructureDefinition/
PROFILES: Final = {
    "85353-1": "vitalspanel",
    "9279-1": "resprate",
    "8867-4": "heartrate",
    "2708-6": "oxygensat",
    "8310-5": "bodytemp",
    "8302-2": "bodyheight",
    "9843-4": "headcircum",
    "29463-7": "bodyweight",
    "39156-5": "bmi",
    "85354-9": "bp",
}


def vital_signs(run: Run, resource: dict[str, Any], at: Place) -> None:
    """The profiles that the codes of an Observation demand."""
    code = resource.get("code")
    codings = code.get("coding") if isinstance(code, dict) else None
    found: dict[str, None] = {}  # each once: a code may stand there any number of times
    for coding in codings if isinstance(codings, list) else ():
        if isinstance(coding, dict) and coding.get("system") == LOINC and isinstance(coding.get("code"), str):
            found[coding["code"]] = None
    for each in [each for each in found if each in PROFILES]:
        against(run, resource, at, f"http://hl7.org/fhir/StructureDefinition/{PROFILES[each]}", at)
