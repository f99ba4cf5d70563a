"""Limits of orgs on a gateway that runs: what is refused, what the operator lifts, what SIGHUP
takes over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, bare_environment, new_home
from reloaded import Reloaded
from visitors import Org, problem, until

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def operator(gateway: Daemon, *argv: str) -> Any:
    """What a command answers to programs."""
    ran = subprocess.run(
        [sys.executable, "-m", "smsd", *argv, "--json"],
        cwd=gateway.home,
        env=bare_environment(SMSD_DATA_DIR=str(gateway.data)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return json.loads(ran.stdout)


def refused(answer: Any, status: int, slug: str) -> dict[str, Any]:
    told = problem(answer, status)
    assert told["type"] == f"urn:smsd:problem:{slug}"
    assert ("Retry-After" in answer.headers) == (status == 429)
    return told


def test_limits_refuse_and_are_taken_over_without_a_restart(home: Path, tmp_path: Path) -> None:
    file, to = tmp_path / "smsd.toml", "+491701234567"
    file.write_text("")
    with Daemon(home, "--config", str(file)) as gateway:
        reload, org, late = Reloaded(gateway, file), Org(gateway.url), Org(gateway.url)
        with org.agent, late.agent:
            org.claim()
            reload.with_file('max_orgs = 1\nto_prefixes = ["+49"]\nmax_queued = 1')
            refused(late.store(late.sms()), 429, "gateway_full")
            assert org.store(org.sms()).status_code == 200
            told = refused(org.post(to=canaries.number(), body="hi"), 422, "invalid")
            assert told["errors"] == [{"loc": ["to"], "msg": "must begin with one of: +49"}]
            org.send(to=to)
            refused(org.post(to=to, body="hi"), 429, "queue_full")
            reload.with_file("max_sends_per_minute = 1")
            refused(org.post(to=to, body="hi"), 429, "too_many_sends")
            reload.with_file("queue_ttl = 1\nmax_stored = 2")
            refused(org.store(org.sms()), 429, "storage_full")
            assert late.store(late.sms()).status_code == 200
            row = until(lambda: row if (row := org.read(since_id=1)[0])["error"] else None)
            assert (row["status"], row["error"]) == ("failed", "expired")
            reload.with_file("")
            assert org.store(org.sms()).status_code == 200


def test_a_phone_keeps_its_sms_while_there_is_no_room_and_is_told_when_there_is(
    home: Path,
) -> None:
    with Daemon(home) as gateway:
        org = Org(gateway.url)
        with org.agent, org.phone() as phone:
            operator(gateway, "org", "limit", org.id, "max_stored", "1")
            until(lambda: org.read(limit=1) == [] and _limited(gateway, org))
            assert phone.receive(canaries.text())["type"] == "inbound_ack"
            until(lambda: org.store(org.sms()).status_code == 429)
            phone.say(type="inbound", message=org.sms())
            operator(gateway, "org", "limit", org.id, "max_stored", "none")
            until(lambda: org.store(org.sms()).status_code == 200)
            assert phone.hear() == {"type": "inbound_ack", "stored": 1}


def _limited(gateway: Daemon, org: Org) -> bool:
    """Whether the operator sees the limit, and how much of it is used."""
    seen = operator(gateway, "org", "show", org.id)
    return bool(seen["max_stored"] == {"value": 1, "from": "org", "used": 0})
