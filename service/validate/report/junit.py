"""The report for build servers: JUnit's XML, one test suite a file and one test case a resource."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from service import __version__
from service.issues import Issue
from service.validate.report.result import Result, Run, plural
from service.validate.report.text import told

# What XML 1.0 can hold: https://www.w3.org/TR/xml/#charsets
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(results: Iterable[Result], run: Run) -> Iterator[str]:
    """An error of a resource makes its test case fail; warnings and notes stand in its output."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="casebridge validate">\n'
    for file, group in groupby(results, key=attrgetter("file")):
        suite = _suite(file, list(group), run)
        ElementTree.indent(suite)
        yield ElementTree.tostring(suite, encoding="unicode") + "\n"
    yield "</testsuites>\n"


def _suite(file: str, results: list[Result], run: Run) -> Element:
    failed = sum(result.readable and any(issue.is_error for issue in result.issues) for result in results)
    unreadable = sum(not result.readable for result in results)
    counts = {"tests": len(results), "failures": failed, "errors": unreadable, "skipped": 0}
    suite = Element("testsuite", {"name": _clean(file), **{name: str(count) for name, count in counts.items()}})
    properties = SubElement(suite, "properties")
    SubElement(properties, "property", name="casebridge", value=__version__)
    for package in run.packages:
        SubElement(properties, "property", name=package.id, value=f"{package.version} sha256:{package.sha256}")
    for result in results:
        _case(suite, result)
    return suite


def _case(suite: Element, result: Result) -> None:
    case = SubElement(suite, "testcase", classname="casebridge.validate", name=_clean(result.name))
    errors = [issue for issue in result.issues if issue.is_error]
    others = [issue for issue in result.issues if not issue.is_error]
    if errors:
        # One element for all errors, for readers that take only the first.
        kind = "failure" if result.readable else "error"
        SubElement(case, kind, type=errors[0].rule, message=plural(len(errors), "error")).text = _lines(errors)
    if others:
        SubElement(case, "system-out").text = _lines(others)


def _lines(issues: Iterable[Issue]) -> str:
    return _clean("\n".join(line for issue in issues for line in told(issue)))


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
