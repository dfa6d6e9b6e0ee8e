"""Addresses of servers: what is taken for one, what has one origin, and where nothing is ever sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Usage
from service.sync import origins


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("http://example.org/fhir", "http://example.org/fhir"),
        ("HTTPS://Example.ORG:443/fhir/", "https://example.org/fhir"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:8080///", "http://example.org:8080"),
        ("http://[::1]:8090/fhir", "http://[::1]:8090/fhir"),
        ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]"),
        ("https://bücher.example/R4", "https://xn--bcher-kva.example/R4"),
        ("http://example.org/tenants/a_b-c~1%20x", "http://example.org/tenants/a_b-c~1%20x"),
        ("http://example.org/krankenhäuser", "http://example.org/krankenh%C3%A4user"),
    ],
)
def test_base_is_written_in_one_way(text: str, base: str) -> None:
    assert origins.base_url(text) == base
    assert origins.base_url(base) == base


BAD = [
    "",
    "example.org/fhir",
    "//example.org/fhir",
    "file:///etc/passwd",
    "ftp://example.org/SECRET",
    "gopher://example.org",
    "http:",
    "http:///SECRET",
    "http://:8080/",
    "http://?SECRET",
    "https://user:SECRET@example.org/fhir",
    "https://SECRET@example.org/fhir",
    "https://@example.org/fhir",
    "http://example.org/fhir?key=SECRET",
    "http://example.org/fhir?",
    "http://example.org/fhir#SECRET",
    "http://example.org:0/",
    "http://example.org:65536/",
    "http://example.org:-1/",
    "http://example.org:8o80/",
    "http://example.org:\u0661/",
    "http://exam\nple.org/",
    "http://example.org/\tSECRET",
    " http://example.org/",
    "http://example.org/\x00",
    "http://example.org\\@evil.example/",
    "http://exa mple.org/",
    "http://%31%32%37.0.0.1/",
    "http://example..org/",
    "http://-example.org/",
    "http://[::1/",
    "http://[::g]/",
    "http://[127.0.0.1]/",
    "http://[::1]SECRET/",
    "http://[::1]SECRET:80/",
    "http://[fe80::1%25eth0]/",
    "http://a/b/../SECRET",
    "http://a/b/%2e%2E/SECRET",
    "http://a/b/..%2fSECRET",
    "http://a/./b",
    "http://" + "a" * 64 + ".example/",
    "http://stra\u00dfe.example/",  # strasse.example by one IDNA, xn--strae-oqa.example by the other
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_base_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(Usage) as caught:
        origins.base_url(text)
    (issue,) = caught.value.issues
    assert issue.rule == "sync-address"
    assert issue.fix
    assert "SECRET" not in f"{issue}{caught.value}"


@given(st.text(max_size=40))
def test_any_text_is_a_base_or_refused(text: str) -> None:
    try:
        base = origins.base_url(f"http://{text}")
    except Usage:
        return
    assert origins.base_url(base) == base
    assert base.isascii()


def test_origin_has_lower_case_host_and_default_port() -> None:
    assert origins.origin("https://EXAMPLE.org/a?b#c") == ("https", "example.org", 443)
    assert origins.origin("http://example.org") == ("http", "example.org", 80)
    assert str(origins.origin("http://[::1]:8090/x")) == "http://[::1]:8090"
    assert str(origins.origin("https://example.org:443")) == "https://example.org"


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("http://a.example/x", "http://A.EXAMPLE:80/y?z", True),
        ("https://a.example", "http://a.example", False),
        ("http://a.example", "http://a.example:8080", False),
        ("http://a.example", "http://a.example.evil.example/", False),
        ("http://a.example", "http://evil.example/?http://a.example", False),
        ("http://a.example", "http://a.example@evil.example/", False),
        ("http://a.example", "not an address", False),
        ("file:///a", "file:///a", False),
    ],
)
def test_origins_are_compared_by_their_parts(a: str, b: str, same: bool) -> None:
    assert origins.same_origin(a, b) is same
    assert origins.same_origin(b, a) is same


@pytest.mark.parametrize(
    ("url", "below"),
    [
        ("http://a.example/fhir", True),
        ("http://a.example/fhir/", True),
        ("http://a.example/fhir?_getpages=1", True),
        ("http://a.example:80/fhir/Patient?_page=2", True),
        ("http://a.example/fhirs/Patient", False),
        ("http://a.example/other", False),
        ("http://a.example/", False),
        ("http://a.example/fhir/../admin", False),
        ("http://a.example/fhir/%2e%2e/admin", False),
        ("https://a.example/fhir/Patient", False),
        ("http://b.example/fhir", False),
        ("http://b.example/?http://a.example/fhir", False),
        ("http://a.example/fhir/\n", False),
        ("http://\uff41.example/fhir", False),  # another way to write a.example, in the opinion of some
    ],
)
def test_a_page_is_below_the_base(url: str, below: bool) -> None:
    assert origins.is_below(url, "http://a.example/fhir") is below


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "224.0.0.1",
        "ff02::1",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "240.0.0.1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "4000::1",
    ],
)
@pytest.mark.parametrize("allow_local", [True, False])
def test_nothing_goes_where_no_fhir_server_is(ip: str, allow_local: bool) -> None:
    with pytest.raises(Usage) as caught:
        origins.check_address(ip, allow_local=allow_local)
    assert caught.value.issues[0].rule == "sync-address"


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "127.9.9.9", "::1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "fd12::1", "fec0::1"),
        *("::ffff:127.0.0.1", "::ffff:10.1.1.1", "64:ff9b::a00:1", "2002:7f00:1::"),
    ],
)
def test_this_machine_and_private_networks_are_for_who_may(ip: str) -> None:
    origins.check_address(ip, allow_local=True)
    with pytest.raises(Usage, match="not allowed here"):
        origins.check_address(ip, allow_local=False)


@pytest.mark.parametrize("ip", ["1.1.1.1", "193.99.144.80", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses_are_for_everybody(ip: str) -> None:
    origins.check_address(ip, allow_local=False)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f.1", "0x7f000001", "017700000001", "127.1", "0177.0.0.1", "127.0.0.1", "[::1]", "[::ffff:7f00:1]"],
)
def test_odd_notations_are_what_a_socket_makes_of_them(host: str) -> None:
    origins.check_host(f"http://{host}/fhir", allow_local=True)
    with pytest.raises(Usage, match="on this machine"):
        origins.check_host(f"http://{host}/fhir", allow_local=False)


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "169.254.43518", "0", "[fe80::1]", "[::ffff:169.254.169.254]"])
def test_odd_notations_hide_no_forbidden_address(host: str) -> None:
    with pytest.raises(Usage, match="no FHIR server is there"):
        origins.check_host(f"http://{host}/fhir", allow_local=True)


def test_a_name_is_not_judged_before_it_is_looked_up() -> None:
    origins.check_host("http://localhost/fhir", allow_local=False)
