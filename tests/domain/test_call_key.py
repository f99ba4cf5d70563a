"""What makes two calls under one key the same call."""

from __future__ import annotations

import pytest

from smsd.domain.call_key import named
from smsd.rest.send import Outgoing

SENT = Outgoing(org_id="acme", secret_key="a-secret-of-the-test", to="+1555", body="hi")


@pytest.mark.parametrize(
    "same",
    [
        Outgoing(to="+1555", body="hi"),
        Outgoing(to="+1555", body="hi", secret_key="another-secret-456", sim=None),
    ],
    ids=["identity in headers", "after the secret was changed"],
)
def test_who_asks_is_no_part_of_what_is_asked(same: Outgoing) -> None:
    assert named("k", "send", same) == named("k", "send", SENT)


@pytest.mark.parametrize(
    "other",
    [
        Outgoing(to="+1556", body="hi"),
        Outgoing(to="+1555", body="hi "),
        Outgoing(to="+1555", body="hi", sim=0),
        Outgoing(to="+1555", body="hi", dry_run=False),
    ],
    ids=["to", "body", "sim", "dry_run"],
)
def test_whatever_is_asked_makes_another_call(other: Outgoing) -> None:
    assert named("k", "send", other).fingerprint != named("k", "send", SENT).fingerprint


def test_the_same_body_for_another_end_is_another_call() -> None:
    assert named("k", "ask", SENT).fingerprint != named("k", "send", SENT).fingerprint


def test_the_fingerprint_is_the_same_in_every_release() -> None:
    """It lies in databases: where it changes, every retry after an upgrade is refused."""
    found = named("k", "send", SENT).fingerprint
    assert found == "56c759b89c2d5f510bcaa7e9d00c012de99b811c87c4c02de906227c1b501d8e"
