"""The laws of conversion, over records that are generated from the form: nothing lost, nothing invented, nothing by chance."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.bundle.build import BUNDLE_TYPES, BundleType, build_bundle
from service.bundle.read import read_bundle
from service.case.form import walk
from service.fhir.json import dumps, loads
from service.issues import Issue
from service.mapping.compiled import Mapping
from service.mapping.to_case import Located, to_record
from service.mapping.to_fhir import Mapped, to_resources
from tests.support.strategies import cases, fields_used, wild_cases

KEY, OTHER_KEY = b"the laws", b"another deployment"


def bundle_of(record: Any, mapping: Mapping, key: bytes = KEY, bundle_type: BundleType = "collection") -> dict[str, Any]:
    mapped, issues = to_resources(record, mapping, key)
    assert mapped is not None, issues
    return build_bundle(_pairs(mapped), bundle_type)


def _pairs(mapped: Mapped) -> Iterator[tuple[str, Any]]:
    return zip((entry.full_url for entry in mapped.entries), mapped.resources, strict=True)


def record_of(bundle: bytes, mapping: Mapping, key: bytes = KEY) -> tuple[Any, list[Issue]]:
    found, issues = read_bundle(loads(bundle))
    assert not issues
    return to_record([Located(*one) for one in found], mapping, key)


def exact(value: Any) -> bytes:
    """A record as bytes, whatever the order of its keys: 1.0 and 1.00 differ here."""
    return dumps(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def test_a_case_comes_back_as_it_went(mapping: Mapping) -> None:
    @given(cases(mapping), st.sampled_from(BUNDLE_TYPES), st.sampled_from([KEY, OTHER_KEY]))
    def law(record: Any, bundle_type: BundleType, key: bytes) -> None:
        assert mapping.accepts.is_valid(record)
        before = copy.deepcopy(record)
        bundle = dumps(bundle_of(record, mapping, KEY, bundle_type))
        assert exact(record) == exact(before), "converting leaves the record alone"
        back, issues = record_of(bundle, mapping, key)
        assert not issues
        assert exact(back) == exact(record)

    law()


def test_what_converts_at_all_comes_back(mapping: Mapping) -> None:
    """The form accepts more than converts (ids of nothing, days of no calendar): that is told, never by an exception."""

    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    @given(wild_cases(mapping))
    def law(record: Any) -> None:
        mapped, issues = to_resources(record, mapping, KEY)
        if mapped is None:
            assert issues
            assert all(issue.pointer is not None and issue.text for issue in issues)
        else:
            back, found = record_of(dumps(build_bundle(_pairs(mapped), "collection")), mapping)
            assert not found
            assert exact(back) == exact(record)

    law()


def test_the_order_of_keys_is_no_matter(mapping: Mapping) -> None:
    @given(cases(mapping), st.integers(0, 2**32))
    def law(record: Any, seed: int) -> None:
        shuffled = _shuffled(record, random.Random(seed))
        assert dumps(bundle_of(shuffled, mapping)) == dumps(bundle_of(record, mapping))

    law()


def _shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        return {name: _shuffled(value[name], chance) for name in chance.sample(sorted(value), len(value))}
    return [_shuffled(one, chance) for one in value] if isinstance(value, list) else value


def test_the_order_of_items_changes_no_resource(mapping: Mapping) -> None:
    lists = {(kind.plan.parent, kind.name) for kind in mapping.kinds if kind.is_list}

    def reorder(item: Any, section: str, chance: random.Random) -> None:
        for parent, name in lists:
            if parent == section and name in item:
                chance.shuffle(item[name])
        for kind in mapping.kinds[1:]:
            if kind.plan.parent == section and kind.name in item:
                for one in item[kind.name] if kind.is_list else [item[kind.name]]:
                    reorder(one, kind.section, chance)

    @given(cases(mapping), st.integers(0, 2**32))
    def law(record: Any, seed: int) -> None:
        other = copy.deepcopy(record)
        reorder(other, "", random.Random(seed))
        ours, theirs = (
            {one["fullUrl"]: one["resource"] for one in bundle_of(each, mapping)["entry"]} for each in (record, other)
        )
        assert exact(ours) == exact(theirs)

    law()


def test_each_resource_has_one_identity_of_its_own(mapping: Mapping) -> None:
    @given(cases(mapping))
    def law(record: Any) -> None:
        entries = bundle_of(record, mapping)["entry"]
        found = [
            [one["value"] for one in entry["resource"]["identifier"] if one["system"] == mapping.spec.identifier]
            for entry in entries
        ]
        assert [len(one) for one in found] == [1] * len(entries)
        assert len({one for (one,) in found}) == len(entries)
        assert [entry["fullUrl"] for entry in entries] == [f"urn:uuid:{one}" for (one,) in found]

    law()


def test_another_key_changes_every_identity_and_nothing_else(mapping: Mapping) -> None:
    def anonymous(bundle: dict[str, Any]) -> tuple[bytes, set[str]]:
        text, uuids = dumps(bundle), [entry["fullUrl"].removeprefix("urn:uuid:") for entry in bundle["entry"]]
        for number, uuid in enumerate(uuids):
            text = text.replace(uuid.encode(), b"#%d" % number)
        return text, set(uuids)

    @given(cases(mapping), st.binary(min_size=1).filter(lambda key: key != KEY))
    def law(record: Any, key: bytes) -> None:
        ours, theirs = anonymous(bundle_of(record, mapping)), anonymous(bundle_of(record, mapping, key))
        assert ours[0] == theirs[0]
        assert not ours[1] & theirs[1]

    law()


def test_the_generated_cases_use_the_whole_form(mapping: Mapping) -> None:
    """The laws say little about a field that no generated case has."""
    used: set[str] = set()

    @settings(max_examples=200, derandomize=True, database=None, phases=[Phase.generate])
    @given(cases(mapping, dense=True))
    def collect(record: Any) -> None:
        used.update(fields_used(mapping.form, record))

    collect()
    ignored = {f"/{name}" for name in mapping.spec.ignored}
    assert {pointer for pointer, _field in walk(mapping.form)} - ignored == used
