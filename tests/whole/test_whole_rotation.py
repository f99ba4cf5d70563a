"""An org sets another secret of its own, over the wire: a phone that stays, a grace."""

from __future__ import annotations

import pytest
from canaries import canaries
from visitors import Org, problem

pytestmark = pytest.mark.whole


def rotated(org: Org, **more: int) -> Org:
    """The org's people with a new secret."""
    new = Org(org.url, org.id)
    told = {"secret_key": org.secret, "new_secret_key": new.secret, **more}
    answer = org.agent.post(f"/orgs/{org.id}/secret", json=told)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["old_secret_until"] is None) == (not more)
    return new


def test_a_phone_stays_and_whoever_calls_from_now_on_needs_the_new_secret(org: Org) -> None:
    with org.phone() as phone:
        new = rotated(org)
        with new.agent:
            problem(org.agent.get(f"/messages/{org.id}"), 401)
            assert new.send()["results"][0]["status"] == "sending"
            assert phone.hear()["type"] == "send_sms"


def test_within_the_grace_either_opens_and_only_the_new_one_sets_another(org: Org) -> None:
    with rotated(org, grace=600).agent as agent:
        assert org.read() == []
        told = {"new_secret_key": canaries.secret()}
        refused = problem(org.agent.post(f"/orgs/{org.id}/secret", json=told), 403)
        assert refused["type"] == "urn:smsd:problem:superseded"
        assert agent.get(f"/messages/{org.id}").status_code == 200
