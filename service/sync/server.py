"""The FHIR server as the rest of this package knows it: one Protocol, spoken over HTTP by `rest`, in memory by `memory`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from service.fhir.search import token

__all__ = ["Criteria", "FhirServer", "Resource", "token"]

Resource = dict[str, Any]
# Search parameters in order, as name and value; a value is escaped as FHIR has it (`token`), not yet percent-encoded.
Criteria = Sequence[tuple[str, str]]


class FhirServer(Protocol):
    """An R4 server. Every method raises ServerUnavailable where no usable answer came, and ServerRefused where one said no.

    All reading asks for what is stored now and never for a cached result. Numbers with a fraction are Decimals.
    """

    @property
    def base(self) -> str:
        """The service base URL, without a slash at its end: http://hl7.org/fhir/R4/http.html#general"""
        ...

    def capabilities(self) -> Resource:
        """The CapabilityStatement: http://hl7.org/fhir/R4/http.html#capabilities"""
        ...

    def submit(self, bundle: Resource) -> Resource:
        """Sends a transaction or batch once, asking for `return=representation`, and gives the response Bundle.

        ServerUnavailable.sent tells whether the server may have carried it out: http://hl7.org/fhir/R4/http.html#transaction
        """
        ...

    def read(self, resource_type: str, resource_id: str) -> Resource | None:
        """The current version, or None where there is none or it was deleted: http://hl7.org/fhir/R4/http.html#read"""
        ...

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        """The first page of a search, as a searchset; the criteria never stand in a URL (POST _search).

        http://hl7.org/fhir/R4/http.html#search
        """
        ...

    def everything(self, patient_id: str) -> Resource:
        """The first page of Patient/[id]/$everything: http://hl7.org/fhir/R4/patient-operation-everything.html"""
        ...

    def page(self, url: str) -> Resource:
        """A further page, by the URL of a link `next`; ServerRefused (status 0) for a URL that is not the server's own."""
        ...
