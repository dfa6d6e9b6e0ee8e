from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from service.errors import CasebridgeError, ServerRefused, ServerUnavailable
from service.issues import Issue
from service.sync.memory import MemoryServer
from service.sync.pages import resources
from service.sync.server import Resource


def one(name: str, version: str = "1", mode: str | None = "match", resource_type: str = "Patient") -> Resource:
    resource = {"resourceType": resource_type, "id": name, "meta": {"versionId": version}}
    return {"resource": resource, **({"search": {"mode": mode}} if mode else {})}


def page(*entries: Resource, then: str | None = None) -> Resource:
    links = [{"relation": "self", "url": "here"}, *([{"relation": "next", "url": then}] if then else [])]
    return {"resourceType": "Bundle", "type": "searchset", "link": links, **({"entry": [*entries]} if entries else {})}


def gone(status: int = 410) -> ServerRefused:
    return ServerRefused([Issue("error", "expired", "sync-refused", "gone")], status=status)


class Script(MemoryServer):
    """A server whose searches and pages are written down: each is given once, in order, and the errors among them raised."""

    def __init__(self, firsts: Sequence[Resource], pages: Mapping[str, Sequence[Resource | CasebridgeError]]) -> None:
        super().__init__()
        self.firsts = list(firsts)
        self.pages = {url: list(each) for url, each in pages.items()}
        self.asked: list[str] = []

    def first(self) -> Resource:
        self.asked.append("first")
        return self.firsts.pop(0)

    def page(self, url: str) -> Resource:
        self.asked.append(url)
        given = self.pages[url].pop(0)
        if isinstance(given, CasebridgeError):
            raise given
        return given

    def walk(self, **options: Any) -> list[str]:
        return [f"{each['id']}.{each['meta']['versionId']}" for each in resources(self, self.first, **options)]


def test_a_walk_gives_the_resources_of_all_pages_in_order() -> None:
    server = Script([page(one("a"), one("b"), then="2")], {"2": [page(one("c"), then="3")], "3": [page(one("d"))]})
    assert server.walk() == ["a.1", "b.1", "c.1", "d.1"]
    assert server.asked == ["first", "2", "3"]


def test_an_empty_search_gives_nothing() -> None:
    assert Script([page()], {}).walk() == []
    assert Script([{"resourceType": "Bundle", "type": "searchset"}], {}).walk() == []


def test_an_empty_page_is_not_the_end() -> None:
    server = Script([page(then="2")], {"2": [page(then="3")], "3": [page(one("a"))]})
    assert server.walk() == ["a.1"]


def test_outcomes_are_left_out_and_what_was_included_is_given() -> None:
    outcome = one("x", mode="outcome", resource_type="OperationOutcome")
    server = Script([page(one("a"), one("b", mode="include"), one("c", mode=None), outcome, {"fullUrl": "nothing"})], {})
    assert server.walk() == ["a.1", "b.1", "c.1"]


def test_what_several_pages_have_is_given_once_in_the_version_met_first() -> None:
    again = page(one("a"), one("a", "2"), one("a", resource_type="Observation"))
    server = Script([page(one("a"), one("a"), then="2")], {"2": [again]})
    assert server.walk() == ["a.1", "a.1"]


def test_a_page_is_asked_for_only_when_it_is_needed() -> None:
    server = Script([page(one("a"), one("b"), then="2")], {"2": [page(one("c"))]})
    walk = resources(server, server.first)
    assert server.asked == []
    assert [next(walk)["id"], next(walk)["id"]] == ["a", "b"]
    assert server.asked == ["first"]


@pytest.mark.parametrize("back", ["2", "3"])
def test_pages_that_lead_back_are_refused(back: str) -> None:
    pages = {"2": [page(one("b"), then="3")] * 2, "3": [page(one("c"), then=back)] * 2}
    server = Script([page(one("a"), then="2")], pages)
    with pytest.raises(ServerRefused) as caught:
        server.walk()
    assert (caught.value.status, caught.value.issues[0].rule) == (0, "sync-page-loop")
    assert server.asked == ["first", "2", "3"]


def test_pages_without_an_end_are_refused() -> None:
    pages = {str(number): [page(one(f"p{number}"), then=str(number + 1))] for number in range(1, 9)}
    server = Script([page(one("p0"), then="1")], pages)
    with pytest.raises(ServerRefused) as caught:
        server.walk(most_pages=5)
    assert (caught.value.status, caught.value.issues[0].rule) == (0, "sync-page-loop")


def test_just_as_many_pages_as_are_allowed_are_walked() -> None:
    server = Script([page(one("a"), then="2")], {"2": [page(one("b"))]})
    assert server.walk(most_pages=2) == ["a.1", "b.1"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_forgotten_search_runs_again_and_gives_what_is_missing(status: int) -> None:
    firsts = [page(one("a"), one("b"), then="2"), page(one("b"), one("a", "2"), then="2")]
    server = Script(firsts, {"2": [gone(status), page(one("c"), one("a"))]})
    assert server.walk() == ["a.1", "b.1", "c.1"]
    assert server.asked == ["first", "2", "first", "2"]


def test_a_search_runs_again_three_times_and_no_more() -> None:
    firsts = [page(one("a"), then="2")] * 5
    assert Script(firsts, {"2": [gone(), gone(), gone(), page(one("b"))]}).walk() == ["a.1", "b.1"]
    server = Script(firsts, {"2": [gone()] * 5})
    with pytest.raises(ServerRefused) as caught:
        server.walk()
    assert caught.value.status == 410
    assert server.asked.count("first") == 4


@pytest.mark.parametrize(
    "error", [gone(400), gone(0), ServerUnavailable([Issue("error", "transient", "sync-busy", "busy")], retry_after=3)]
)
def test_any_other_error_of_a_page_passes_through(error: CasebridgeError) -> None:
    server = Script([page(one("a"), then="2")], {"2": [error]})
    with pytest.raises(type(error)) as caught:
        server.walk()
    assert caught.value is error


def test_a_search_that_is_itself_refused_does_not_run_again() -> None:
    asked = []

    def first() -> Resource:
        asked.append("first")
        raise gone(404)

    with pytest.raises(ServerRefused):
        list(resources(MemoryServer(), first))
    assert asked == ["first"]


@pytest.mark.parametrize("reply", [{"resourceType": "OperationOutcome"}, {"resourceType": "Bundle", "type": "collection"}, {}])
def test_a_reply_that_is_no_searchset_is_no_usable_answer(reply: Resource) -> None:
    with pytest.raises(ServerUnavailable) as caught:
        Script([page(one("a"), then="2")], {"2": [reply]}).walk()
    assert caught.value.issues[0].rule == "sync-reply"


def test_a_walk_over_a_server_that_forgets_and_loses_rows_is_complete() -> None:
    server = MemoryServer(page_size=2)
    for number in range(9):
        put = {"method": "PUT", "url": f"Patient/p{number}"}
        entry = {"resource": {"resourceType": "Patient", "id": f"p{number}"}, "request": put}
        server.submit({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    found = []
    for resource in resources(server, lambda: server.search("Patient", [])):
        found.append(resource["id"])
        if resource["id"] == "p3":
            server.expire_pages()
            server.delete("Patient", "p6")
    assert found == ["p0", "p1", "p2", "p3", "p4", "p5", "p7", "p8"]
