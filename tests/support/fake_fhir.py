"""A FHIR server over HTTP for tests: REST in front of the memory server, with every fault of `http_faults` on demand.

It answers as HAPI 8.8 does where Casebridge can notice, its search cache included. Source: http://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from service.errors import CasebridgeError, ServerRefused
from service.fhir import json
from service.issues import to_operation_outcome
from service.sync.memory import MemoryServer
from tests.support.http_faults import FaultyServer
from tests.support.loopback import Reply, Request, fhir_reply, outcome_reply

PATH: Final = "/fhir"
_JSON: Final = ("application/fhir+json", "application/json")
_FORM: Final = "application/x-www-form-urlencoded"
# Parameters of the representation, which no search needs to know.
_PLAIN: Final = ("_format", "_pretty")


class FhirRest:
    """REST over a memory server, without a socket: a reply for each request."""

    def __init__(self, memory: MemoryServer) -> None:
        self.memory = memory
        self._path = urlsplit(memory.base).path
        self._cached: dict[tuple[str, bytes], Reply] = {}

    def answer(self, request: Request) -> Reply:
        """The reply; its links lead to where the request was sent, as HAPI has it: to a proxy, say."""
        reply = self._reply(request)
        own = self.memory.base
        seen = urlunsplit(urlsplit(own)._replace(netloc=request.headers.get("host", urlsplit(own).netloc)))
        headers = {name: value.replace(own, seen) for name, value in reply.headers.items()}
        return Reply(reply.status, headers, reply.body.replace(own.encode(), seen.encode()))

    def _reply(self, request: Request) -> Reply:
        try:
            return self._routed(request)
        except ServerRefused as error:
            return fhir_reply(error.status or 400, error.outcome)
        except CasebridgeError as error:  # a body that is no JSON
            return fhir_reply(400, to_operation_outcome(error.issues))

    def _routed(self, request: Request) -> Reply:
        path, _, query = request.path.partition("?")
        if path != self._path and not path.startswith(self._path + "/"):
            return outcome_reply(404, "nothing is here")
        place = path.removeprefix(self._path).strip("/")
        if request.method == "POST" and (place.endswith("/_search") or "_getpages" in query):
            return self._searched(request, place.removesuffix("/_search"), request.body.decode())
        if request.method in ("GET", "HEAD"):
            return self._read(request, place, query)
        if request.method == "POST" and not place:
            return self._submitted(request)
        if request.method in ("POST", "PUT", "DELETE") and place:
            return self._written(request, place)
        return outcome_reply(405, "the server has no such interaction")

    def _read(self, request: Request, place: str, query: str) -> Reply:
        if place == "metadata":
            return fhir_reply(200, self.memory.capabilities())
        if not place and "_getpages" in query:
            return fhir_reply(200, self.memory.page(f"{self.memory.base}?{query}"))
        if "/" not in place:
            return self._searched(request, place, query)
        found = self.memory.get(place)
        return fhir_reply(200, found, _headers(found, self.memory.base) if "versionId" in found.get("meta", {}) else None)

    def _searched(self, request: Request, resource_type: str, query: str) -> Reply:
        """HAPI gives the result of the same search a minute ago to whoever does not say `no-cache`."""
        key = (request.path, request.body)
        if key not in self._cached or "no-cache" in request.headers.get("cache-control", ""):
            criteria = [each for each in parse_qsl(query, keep_blank_values=True) if each[0] not in _PLAIN]
            self._cached[key] = fhir_reply(200, self.memory.search(resource_type, criteria))
        return self._cached[key]

    def _submitted(self, request: Request) -> Reply:
        answer = self.memory.submit(_body(request))
        if "return=representation" not in request.headers.get("prefer", ""):
            for entry in answer.get("entry", ()):
                if "location" in entry["response"]:
                    entry.pop("resource", None)
        return fhir_reply(200, answer)

    def _written(self, request: Request, place: str) -> Reply:
        """A single POST, PUT or DELETE: a transaction of one entry."""
        asked = {"method": request.method, "url": place}
        for header, name in (("if-none-exist", "ifNoneExist"), ("if-match", "ifMatch")):
            if header in request.headers:
                asked[name] = request.headers[header]
        entry: dict[str, Any] = {"request": asked}
        if request.method != "DELETE":
            entry["resource"] = _body(request)
        if request.method == "PUT" and entry["resource"].get("id") != place.partition("/")[2]:
            return outcome_reply(400, "the id of the body is not that of the URL")
        [done] = self.memory.submit({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})["entry"]
        status = int(done["response"]["status"].split()[0])
        if "resource" not in done:
            return outcome_reply(200, "deleted")
        headers = _headers(done["resource"], self.memory.base)
        if request.method == "POST":
            headers["Location"] = headers["Content-Location"]
        return fhir_reply(status, done["resource"], headers)


class FakeFhir(FaultyServer):
    """The server on a free port of loopback; `options` are those of MemoryServer, which stands behind it as `memory`.

    `smart`: only requests with a living token from /token are let in. `assertions` has the forms that were sent there, `tokens`
    those that live now: clear it, and the next request is answered with 401. `expires_in`: in seconds, told with each token.
    """

    def __init__(self, *, smart: bool = False, expires_in: int = 300, **options: Any) -> None:
        super().__init__(PATH)
        self.assertions: list[dict[str, str]] = []
        self.tokens: set[str] = set()
        self._smart = smart
        self._expires_in = expires_in
        self._options = options
        self.memory: MemoryServer
        self._rest: FhirRest

    def __enter__(self) -> FakeFhir:
        super().__enter__()
        self.memory = MemoryServer(self.base, **self._options)
        self._rest = FhirRest(self.memory)
        return self

    def answer(self, request: Request) -> Reply:
        path = request.path.partition("?")[0]
        if path == "/token":
            return self._token(request)
        if path == f"{PATH}/.well-known/smart-configuration":
            found = {"token_endpoint": f"{self.origin}/token"}
            return (
                fhir_reply(200, found, {"Content-Type": "application/json"}) if self._smart else outcome_reply(404, "no SMART")
            )
        if self._smart and path != f"{PATH}/metadata" and not self._is_let_in(request):
            refused = outcome_reply(401, "no living token")
            return Reply(401, {**refused.headers, "WWW-Authenticate": "Bearer"}, refused.body)
        return self._rest.answer(request)

    def _is_let_in(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and token in self.tokens

    def _token(self, request: Request) -> Reply:
        """A token for each assertion, whose signature is for tests to check.

        https://hl7.org/fhir/smart-app-launch/backend-services.html#obtain-access-token
        """
        form = dict(parse_qsl(request.body.decode()))
        self.assertions.append(form)
        good = form.get("grant_type") == "client_credentials" and form.get("client_assertion", "").count(".") == 2
        if request.method != "POST" or not good:
            return fhir_reply(400, {"error": "invalid_request"}, {"Content-Type": "application/json"})
        token = f"token-{len(self.assertions)}"
        self.tokens.add(token)
        answer = {"access_token": token, "token_type": "bearer", "expires_in": self._expires_in, "scope": form.get("scope", "")}
        return fhir_reply(200, answer, {"Content-Type": "application/json", "Cache-Control": "no-store"})


def _body(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind not in _JSON:
        raise ServerRefused([], status=400, outcome=outcome_reply(400, "the body is no FHIR JSON by its Content-Type").json)
    return json.loads(request.body)


def _headers(resource: Any, base: str) -> dict[str, str]:
    version, updated = resource["meta"]["versionId"], datetime.fromisoformat(resource["meta"]["lastUpdated"])
    return {
        "ETag": f'W/"{version}"',
        "Last-Modified": format_datetime(updated, usegmt=True),
        "Content-Location": f"{base}/{resource['resourceType']}/{resource['id']}/_history/{version}",
    }
