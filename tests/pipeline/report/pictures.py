"""Count what a chart shows, and leave charts empty where a test is about the text around them."""

import base64
from xml.etree import ElementTree

import pytest

SVG = "{http://www.w3.org/2000/svg}"


def text_of(source: str) -> str:
    head, _, content = source.partition(",")
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def num_marks(source: str, colour: str, tag: str = "use") -> int:
    """Count the markers of a colour (`use` elements of the picture), or its filled shapes (`path`)."""
    elements = ElementTree.fromstring(text_of(source)).iter(f"{SVG}{tag}")
    return sum(f"fill: {colour}" in element.get("style", "") for element in elements)


def num_lines(source: str) -> int:
    return text_of(source).count('id="line2d_')


def leave_charts_empty(patch: pytest.MonkeyPatch) -> None:
    """Leave the charts of all sections empty, which takes a fraction of the time."""
    patch.setattr("pipeline.report.charts.picture", lambda *_: b"")
