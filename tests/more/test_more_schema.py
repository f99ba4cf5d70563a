"""schemathesis, and time: two thousand calls made from our own document."""

from __future__ import annotations

import pytest
from daemon import Daemon, new_home
from document_calls import hold_to_document
from visitors import Org


@pytest.mark.long
def test_schemathesis_finds_nothing_in_two_thousand_calls() -> None:
    with new_home() as home, Daemon(home) as gateway, new_home() as scratch:
        org = Org(gateway.url)
        with org.agent:
            assert hold_to_document(org.claim(), scratch, examples=130) >= 2000
