"""The walk over the pages of a search: every resource once, whatever happens to the pages on the way.

Source: http://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from service.errors import ServerRefused, ServerUnavailable
from service.issues import Issue
from service.sync.server import FhirServer, Resource

# How often a walk begins anew because the server has forgotten its search, which it says in one of these ways.
MOST_RESTARTS: Final = 3
FORGOTTEN: Final = (404, 410)


def resources(server: FhirServer, first: Callable[[], Resource], *, most_pages: int = 10_000) -> Iterator[Resource]:
    """The resources of a search, which `first` runs, from all its pages: matched and included ones, each once.

    Where the server has forgotten the search meanwhile, it runs again and gives what is still missing. Raises ServerRefused,
    with status 0 where the pages have no end; ServerUnavailable, also where a page is no searchset.
    """
    given: set[tuple[Any, ...]] = set()
    followed: set[str] = set()
    page, restarts = first(), 0
    for _ in range(most_pages):
        for resource in _found(page):
            name = (resource.get("resourceType"), resource.get("id"))
            if name not in given:
                given.add(name)
                yield resource
        url = _next(page)
        if url is None:
            return
        if url in followed:
            raise _endless("a page of a search leads back to an earlier page")
        followed.add(url)
        try:
            page = server.page(url)
        except ServerRefused as error:
            if error.status not in FORGOTTEN or restarts == MOST_RESTARTS:
                raise
            restarts += 1
            followed.clear()
            page = first()
    raise _endless(f"a search has more than {most_pages} pages")


def _found(page: Resource) -> Iterator[Resource]:
    """What a page holds, without what the server says about the search: http://hl7.org/fhir/R4/bundle.html#searchset"""
    if page.get("resourceType") != "Bundle" or page.get("type") != "searchset":
        text = "the server answered a search with something else than a searchset"
        fix = "see whether the base URL is that of a FHIR R4 server"
        raise ServerUnavailable([Issue("error", "structure", "sync-reply", text, fix=fix)])
    for entry in page.get("entry", ()):
        resource = entry.get("resource")
        if isinstance(resource, dict) and entry.get("search", {}).get("mode") != "outcome":
            yield resource


def _next(page: Resource) -> str | None:
    urls = [link.get("url") for link in page.get("link", ()) if link.get("relation") == "next"]
    return urls[0] if urls else None


def _endless(text: str) -> ServerRefused:
    return ServerRefused([Issue("error", "processing", "sync-page-loop", text, fix="report it to whoever runs the server")])
