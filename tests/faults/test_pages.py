"""Names and narratives that would run in a browser: whatever page or answer they reach, they stay text."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.api import create_app
from service.config import Settings
from service.fhir import json
from tests.conftest import ROOT
from tests.faults.routes import Ask, address
from tests.faults.served import PATIENCE, Place, casebridge, served

AT = "app"
# Each sets a mark on the page's root where it runs, and has an attribute by which the parser knows it.
RUN = "document.documentElement.dataset.ran=1"
PAYLOADS = [
    f"<script payload>{RUN}</script>",
    f"</style></title></pre><script payload>{RUN}</script>",
    f'<img payload src=x onerror="{RUN}">',
    f"\"'><svg payload onload={RUN}>",
    f"' onmouseover='{RUN}' payload='",
    f"<a payload href=' javascript:{RUN}'>",
    f"<iframe payload srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"&lt;img payload src=x onerror={RUN}&gt;",
    f"{{{{ '<b payload>'|safe }}}}{{% raw %}}<b payload onclick={RUN}>",
]
ALL = " ".join(PAYLOADS)
_URLS = ("href", "src", "action", "formaction", "xlink:href", "data", "poster", "background")
_JSON = ("application/json", "application/fhir+json", "application/schema+json")


class Parsed(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def dangers(page: Parsed) -> Iterator[str]:
    """What runs, or would once it is clicked."""
    for tag, attributes in page.elements:
        if "payload" in attributes or tag in ("iframe", "object", "embed", "base"):
            yield f"<{tag}> of the payload"
        if tag == "script" and not attributes.get("src"):
            yield "an inline script"
        for name, value in attributes.items():
            if name.startswith("on"):
                yield f"{tag}.{name}"
            if name in _URLS and urlsplit((value or "").strip().lower()).scheme not in ("", "http", "https"):
                yield f"{tag}.{name} with a scheme"


def policy(headers: Mapping[str, str]) -> list[str]:
    """The sources from which the page may run scripts: https://www.w3.org/TR/CSP3/#directive-script-src"""
    directives = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    return directives.get("script-src", directives["default-src"]).split()


def hostile_sets(folder: Path) -> Path:
    """The shipped set under a hostile title, and another whose very folder is named so."""
    shipped = ROOT / "mappings" / "myeloma"
    for name in ("myeloma", f"<img payload src=x onerror='{RUN}'>"):
        shutil.copytree(shipped, folder / name)
        path = folder / name / "mapping.yaml"
        lines = path.read_text(encoding="utf-8").splitlines()
        title = json.dumps(ALL).decode()
        lines = [f"title: {title}" if line.startswith("title:") else line for line in lines]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    root = tmp_path_factory.mktemp("hostile")
    return create_app(Settings(home=root / "home", key=b"a key for tests of the service", mappings=hostile_sets(root / "sets")))


def pages(app: Flask) -> list[str]:
    """The addresses that answer with HTML."""
    client = app.test_client()
    asked = [address(rule) for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    return [one for one in asked if client.get(one, buffered=True).mimetype == "text/html"]


def test_r41_every_page_shows_it_as_text(fault, hostile):
    found = pages(hostile)
    assert "/" in found
    for one in found:
        response = hostile.test_client().get(one)
        page = Parsed(response.get_data(as_text=True))
        fault.injected("a payload in a page", len(PAYLOADS))
        assert not list(dangers(page)), one
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:", "http:", "https:"} & set(policy(response.headers)), one
    assert ALL in Parsed(hostile.test_client().get("/").get_data(as_text=True)).text


def test_control_the_parser_sees_each_payload_that_is_not_escaped():
    """Each but the one that is escaped already."""
    for payload in PAYLOADS:
        shown = f"<p title='{payload}'>{payload}</p>"
        assert bool(list(dangers(Parsed(shown)))) != payload.startswith("&lt;"), payload


def record() -> dict[str, object]:
    lab = {"test": "Hemoglobin", "value": 86, "unit": "g/L", "note": ALL}
    return {"case": "c-1", "source": "https://example.org/", "patient": {"sex": "female", "hospital": ALL}, "labs": [lab]}


def test_r41_no_answer_is_taken_for_a_page(fault, client: FlaskClient, post):
    """JSON by its type, and a browser told not to guess; what an answer tells of the request is quoted JSON."""
    bodies = [json.dumps(record()), json.dumps({**record(), ALL: {ALL: 1}}), ALL.encode(), json.dumps({"resourceType": ALL})]
    for body in bodies:
        for place in ("/convert", "/convert?lenient=true", "/to-case", "/validate", "/fhir/$validate"):
            response = post(place, body)
            fault.injected("a payload in a body", len(PAYLOADS))
            assert response.mimetype in _JSON
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_r41_a_name_stays_a_name_and_makes_no_narrative(fault, post):
    made = post("/convert", record())
    fault.injected("a payload in a case", 2 * len(PAYLOADS))
    assert b'"div"' not in made.data
    notes = [entry["resource"].get("note") for entry in json.loads(made.data)["entry"]]
    assert [{"text": ALL}] in notes
    assert json.loads(post("/to-case", made.data).data)["labs"][0]["note"] == ALL


@pytest.mark.parametrize("payload", [one for one in PAYLOADS if "<" in one])
def test_r41_a_narrative_that_would_run_is_an_error(fault, post, told, payload):
    div = f"<div xmlns='http://www.w3.org/1999/xhtml'>{payload}</div>"
    patient = {"resourceType": "Patient", "text": {"status": "generated", "div": div}}
    issues = json.loads(post("/validate", patient).data)["issue"]
    fault.injected("a payload in a narrative")
    errors = [
        issue for issue in issues if issue["severity"] == "error" and issue["expression"][0].startswith("Patient.text.div")
    ]
    assert errors
    assert RUN not in json.dumps(errors).decode()


# --- the report, which is a page too -------------------------------------------------------------------------------------


@pytest.fixture
def report(fault, tmp_path: Path) -> Path:
    """The HTML report on resources whose values, keys and file are named so."""
    resource = {
        "resourceType": "Patient",
        "id": ALL,
        "text": {"status": ALL, "div": f"<div>{ALL}</div>"},
        "name": [{"family": ALL, "use": ALL}],
        "gender": ALL,
        "extension": [{"url": f" javascript:{RUN}", "valueString": ALL}],
        **dict.fromkeys(PAYLOADS, 1),
    }
    place, folder = Place(tmp_path / "process"), tmp_path / "resources"
    folder.mkdir()
    (folder / f"<img payload src=x onerror='{RUN}'>.json").write_bytes(json.dumps(resource))
    (folder / "unreadable.json").write_bytes(b"{" + ALL.encode())
    done = casebridge(place, "validate", folder, "--format", "html", "-o", tmp_path / "report.html")
    assert done.returncode == 3
    fault.injected("a payload in a report", len(PAYLOADS), at="command")
    return tmp_path / "report.html"


def test_r41_the_report_shows_it_as_text(fault, report):
    page = Parsed(report.read_text(encoding="utf-8"))
    assert not list(dangers(page))
    assert "<img payload" in page.text, "the name of the file is shown"


# --- a browser -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dom(tmp_path: Path):
    """Opens an address in a browser without a window: the document as it stands when nothing more happens."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium here (Debian: apt-get install chromium)")

    def open_page(url: str) -> Parsed:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
        words = [program, *options, "--virtual-time-budget=2000", "--dump-dom", url]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=True)
        return Parsed(done.stdout)

    return open_page


def ran(page: Parsed) -> bool:
    [(_tag, attributes)] = [element for element in page.elements if element[0] == "html"]
    return "data-ran" in attributes


def test_r41_no_browser_runs_it_in_a_page(fault, dom, tmp_path):
    place = Place(tmp_path)
    with served(place, CASEBRIDGE_MAPPINGS=str(hostile_sets(tmp_path / "sets"))) as service:
        assert service.ask(Ask("GET", "/")).status == 200
        page = dom(f"http://127.0.0.1:{service.port}/")
    fault.injected("a payload in a page", len(PAYLOADS), at="service")
    assert "Casebridge" in page.text
    assert not ran(page)
    assert not list(dangers(page))


def test_r41_no_browser_runs_it_in_the_report(fault, dom, report):
    page = dom(report.as_uri())
    assert "Validation report" in page.text
    assert not ran(page)


@pytest.mark.parametrize("payload", [PAYLOADS[0], PAYLOADS[2], PAYLOADS[3]])
def test_control_a_browser_runs_what_is_not_escaped(dom, tmp_path, payload):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><html><body>{payload}</body></html>", encoding="utf-8")
    assert ran(dom(path.as_uri()))
