"""schemathesis holds the running gateway to its own OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import new_home
from document_calls import hold_to_document
from visitors import Org

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def test_schemathesis_finds_nothing(org: Org, home: Path) -> None:
    assert hold_to_document(org, home, examples=12) > 500
