"""No value of a record ever shows in a log or an error: one unmistakable token in every leaf, in every kind of breakage."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.fhir import json

TOKEN = "Zq7canary"
Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from leaves(value[index], (*path, index))
    else:
        yield path


def put(tree: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """A copy of the tree with one leaf changed."""
    out = copy.deepcopy(tree)
    here = out
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = change(here[path[-1]])
    return out


def everywhere(tree: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(tree, dict):
        return {key: everywhere(value, change) for key, value in tree.items()}
    return [everywhere(value, change) for value in tree] if isinstance(tree, list) else change(tree)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "instead": lambda _old: TOKEN,
    "behind": lambda old: f"{old} {TOKEN}",
    "an id": lambda _old: f"at {TOKEN}",
    "in a list": lambda _old: [TOKEN],
    "in an object": lambda _old: {"value": TOKEN},
    "many lines": lambda _old: f"\n{TOKEN}\n" * 3,
    "huge": lambda _old: TOKEN * 40,
}


@pytest.fixture
def quiet(caplog, capfd, post):
    """Sends a text; its answer. Fails where the token shows in the log, on the terminal or in an error."""
    caplog.set_level(logging.DEBUG)

    def send(address: str, value: Any) -> Any:
        caplog.clear()
        response = post(address, value)
        assert response.status_code != 500, "a failure of the service"
        written = capfd.readouterr()
        assert TOKEN not in caplog.text + written.out + written.err + str(response.headers)
        if response.status_code != 200:
            found = [one for one in json.loads(response.data)["issue"] if TOKEN in json.dumps(one).decode()]
            assert not found, f"{address} tells a value: {found[0]}"
        return response

    return send


@pytest.mark.parametrize("name", CHANGES)
def test_in_every_leaf_at_once(quiet, case, name):
    assert quiet("/convert", everywhere(case, CHANGES[name])).status_code == 422


@pytest.mark.parametrize("name", ["instead", "an id", "in a list"])
def test_in_each_leaf_by_itself(quiet, case, name):
    for path in list(leaves(case))[::17]:
        quiet("/convert", put(case, path, CHANGES[name]))


def test_in_ids_that_others_refer_to(quiet, case):
    """Ids of items are data too: a suggestion must not name one."""
    ids = [path for path in leaves(case) if path[-1] == "id"]
    for path in ids[::3]:
        quiet("/convert", put(case, path, lambda old: f"{old}-{TOKEN}"))


def test_in_a_field_that_no_row_reads(quiet, case):
    assert quiet("/convert", case | {"nosuch": TOKEN, "other": {"deep": [TOKEN]}}).status_code == 422


def test_in_a_text_that_is_no_json(quiet, case):
    text = json.dumps(everywhere(case, CHANGES["instead"]))
    middle = len(text) // 2
    places = [text.index(TOKEN.encode(), middle - 500), middle, len(text) - 1]
    for place in places:
        for broken in (b"", TOKEN.encode(), b"\xff", b"\x00", b"NaN", b'"', b"\\ud800", b"[" * 99):
            response = quiet("/convert", text[:place] + broken + (text[place + 1 :] if broken else b""))
            assert response.status_code in (400, 422)


@pytest.mark.parametrize("name", CHANGES)
def test_in_each_leaf_of_a_bundle(quiet, post, case, name):
    bundle = json.loads(post("/convert", case).data)
    paths = [path for path in leaves(bundle) if path[-1] != "resourceType"]
    for path in paths[:: len(paths) // 40]:
        quiet("/to-case", put(bundle, path, CHANGES[name]))
    quiet("/to-case", put(bundle, ("entry", 3, "resource", "resourceType"), CHANGES[name]))
    assert quiet("/to-case", everywhere(bundle, CHANGES[name])).status_code == 422


@pytest.mark.parametrize("value", [None, [], {}, 1, True, [[]], [{}], [None]])
def test_no_shape_of_any_element_makes_the_service_fail(quiet, post, case, value):
    bundle = json.loads(post("/convert", case).data)
    for position, entry in enumerate(bundle["entry"][::43]):
        for name in list(entry["resource"])[1:]:
            quiet("/to-case", put(bundle, ("entry", position * 43, "resource", name), lambda _old: value))
    for section in case:
        quiet("/convert", put(case, (section,), lambda _old: value))
