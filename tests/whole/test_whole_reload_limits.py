"""SIGHUP and strangers: who may claim, how often and from where, taken over without a restart."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, new_home
from reloaded import AGAIN, Reloaded
from visitors import Agent, Org, new_address, until

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def test_who_may_claim_and_the_limits_by_address_are_taken_over(home: Path, tmp_path: Path) -> None:
    file, token = tmp_path / "smsd.toml", canaries.secret()
    file.write_text("")
    with Daemon(home, "--config", str(file)) as gateway:
        reload = Reloaded(gateway, file)

        def claimed(address: str, **headers: str) -> int:
            org = Org(gateway.url, address=address)
            with org.agent:
                org.agent.headers.update(headers)
                return org.store().status_code

        def guessed(address: str) -> int:
            stranger = Org(gateway.url, known.id, canaries.secret(), address)
            with stranger.agent:
                return stranger.agent.get(f"/messages/{known.id}").status_code

        known, here = Org(gateway.url).claim(), new_address()
        known.agent.close()
        assert reload.with_file('claims = "closed"') == [f"{AGAIN}claims is now closed"]
        assert claimed(here) == 401
        reload.with_file(f'claims = "token"\nclaim_token = "{token}"\nmax_claims_per_hour = 1')
        assert [claimed(here), claimed(here, **{"X-Claim-Token": token})] == [401, 200]
        assert claimed(here, **{"X-Claim-Token": token}) == 429
        reload.with_file("max_failures_per_minute = 1")
        there = new_address()
        assert [claimed(here), guessed(there), guessed(there)] == [200, 401, 429]
        reload.with_file("")
        assert guessed(there) == 401


def test_origins_and_connections_are_taken_over(home: Path, tmp_path: Path) -> None:
    file, origin, here = tmp_path / "smsd.toml", "https://app.example", new_address()
    file.write_text("")
    with Daemon(home, "--config", str(file)) as gateway:
        reload = Reloaded(gateway, file)

        def asked() -> tuple[int, str | None]:
            with Agent(gateway.url, here) as agent:
                answer = agent.get("/health", headers={"Origin": origin})
                return answer.status_code, answer.headers.get("Access-Control-Allow-Origin")

        assert asked() == (200, None)
        reload.with_file(f'allow_origins = ["{origin}"]\nmax_connections_per_address = 1')
        with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE, (here, 0)):
            until(lambda: asked()[0] == 429)
            reload.with_file(f'allow_origins = ["{origin}"]')
            assert asked() == (200, origin)
