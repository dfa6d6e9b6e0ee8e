"""The functions of FHIRPath, one table for all. Source: http://hl7.org/fhirpath/N1/#functions"""

from __future__ import annotations

from typing import Final

from service.validate.fhirpath.functions.collections import FUNCTIONS as COLLECTIONS
from service.validate.fhirpath.functions.conversions import FUNCTIONS as CONVERSIONS
from service.validate.fhirpath.functions.fhir import FUNCTIONS as FHIR
from service.validate.fhirpath.functions.loops import FUNCTIONS as LOOPS
from service.validate.fhirpath.functions.maths import FUNCTIONS as MATHS
from service.validate.fhirpath.functions.strings import FUNCTIONS as STRINGS
from service.validate.fhirpath.functions.table import Function

FUNCTIONS: Final[dict[str, Function]] = {**COLLECTIONS, **LOOPS, **CONVERSIONS, **STRINGS, **MATHS, **FHIR}
