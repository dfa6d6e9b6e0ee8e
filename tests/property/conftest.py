"""One profile for the laws: few examples, so that `make test` stays quick; a build server always draws the same ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from service.mapping.compiled import Mapping, load_mapping

MAPPINGS = Path(__file__).parents[2] / "mappings"

settings.register_profile("laws", max_examples=60, deadline=None)
settings.register_profile("laws-on-a-build-server", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("laws-on-a-build-server" if os.environ.get("CI") else "laws")


@pytest.fixture(scope="session", params=sorted(path.parent.name for path in MAPPINGS.glob("*/mapping.yaml")))
def mapping(request: pytest.FixtureRequest) -> Mapping:
    """Each shipped mapping set in turn: the laws hold for all of them."""
    return load_mapping(MAPPINGS / request.param)
