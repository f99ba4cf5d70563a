"""Limits by address (off by default), and whose word on an address is believed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests
from canaries import canaries
from daemon import PATIENCE, Daemon, new_home
from visitors import Agent, Org, calling, exchange, new_address, problem, until

pytestmark = pytest.mark.whole

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
MOST, CLAIMS, FAILURES = 4, 2, 3
#: A proxy that is believed, and another one behind it.
PROXY, INNER = "127.0.9.1", "127.0.9.2"


@pytest.fixture(scope="module")
def strict() -> Iterator[Daemon]:
    """A gateway with every limit by address."""
    limits = [f"--max-connections-per-address={MOST}", f"--max-claims-per-hour={CLAIMS}"]
    limits += [f"--max-failures-per-minute={FAILURES}", "--trusted-proxies=127.0.9.0/24"]
    with new_home() as home, Daemon(home, *limits) as daemon:
        yield daemon


def claim(gateway: Daemon, address: str, forwarded: str | None = None) -> requests.Response:
    """The answer to the claim of a new org, said to come on behalf of these addresses."""
    org = Org(gateway.url, address=address)
    with org.agent as agent:
        if forwarded is not None:
            agent.headers["X-Forwarded-For"] = forwarded
        agent.headers["Connection"] = "close"
        return org.store()


def claims(gateway: Daemon, address: str, *forwarded: str) -> list[int]:
    return [claim(gateway, address, one).status_code for one in forwarded]


def connected(gateway: Daemon, address: str) -> socket.socket:
    """A connection on which one request was answered."""
    line = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE, (address, 0))
    line.sendall(HEALTH)
    assert line.recv(4096).startswith(b"HTTP/1.1 200 ")
    return line


# -- connections --


def test_an_address_holds_only_so_many_connections(strict: Daemon) -> None:
    crowded = new_address()
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(strict, crowded)) for _ in range(MOST)]
        answer = exchange(strict.url, HEALTH, crowded)
        assert (answer.status, answer.headers["Connection"]) == (429, "close")
        assert int(answer.headers["Retry-After"]) > 0
        assert exchange(strict.url, HEALTH, new_address()).status == 200
        lines[0].close()
        until(lambda: exchange(strict.url, HEALTH, crowded).status == 200)


def test_phones_are_connections_too(strict: Daemon) -> None:
    org = Org(strict.url, address=new_address())
    with org.agent, ExitStack() as stack:
        for _ in range(MOST):
            phone = stack.enter_context(org.phone())
        assert exchange(strict.url, HEALTH, org.address).status == 429
        assert phone.hear_all_before_pong() == []


def test_the_connections_of_a_trusted_proxy_are_not_counted(strict: Daemon) -> None:
    with ExitStack() as stack:
        for _ in range(2 * MOST):
            stack.enter_context(connected(strict, PROXY))


# -- claims --


def test_an_address_claims_only_so_many_orgs_an_hour(strict: Daemon) -> None:
    eager = new_address()
    assert [claim(strict, eager).status_code for _ in range(CLAIMS)] == [200] * CLAIMS
    answer = claim(strict, eager)
    assert problem(answer, 429)["type"].endswith("too_many")
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    with calling(Org(strict.url).socket_url(), eager) as phone:
        assert phone.hear()["code"] == "too_many"
        assert phone.end()[0] == 4429
    assert claim(strict, new_address()).status_code == 200


def test_a_refused_claim_leaves_the_org_to_others(strict: Daemon) -> None:
    eager = new_address()
    assert [claim(strict, eager).status_code for _ in range(CLAIMS)] == [200] * CLAIMS
    late = Org(strict.url, address=eager)
    with late.agent:
        problem(late.store(), 429)
    with Org(strict.url, late.id, address=new_address()).claim().agent:
        pass


def test_who_is_no_trusted_proxy_speaks_for_itself_only(strict: Daemon) -> None:
    spoofer = new_address()
    spoofed = ["198.51.100.1", "198.51.100.2", f"198.51.100.3, {PROXY}", "2001:db8:aa::1"]
    assert claims(strict, spoofer, *spoofed) == [200, 200, 429, 429]
    assert claims(strict, PROXY, "198.51.100.3", "198.51.100.3") == [200, 200]


def test_behind_a_trusted_proxy_every_client_has_its_own_count(strict: Daemon) -> None:
    assert claims(strict, PROXY, *["203.0.113.1"] * 3) == [200, 200, 429]
    assert claims(strict, PROXY, "203.0.113.2") == [200]


def test_what_a_client_wrote_left_of_itself_is_not_believed(strict: Daemon) -> None:
    """Each proxy appends the peer it saw: the nearest one that is no proxy is responsible."""
    told = ["203.0.113.11", "6.6.6.6, 203.0.113.11", f"7.7.7.7, 203.0.113.11, {INNER}"]
    assert claims(strict, PROXY, *told) == [200, 200, 429]
    assert claims(strict, PROXY, "6.6.6.6") == [200]


def test_a_network_of_ipv6_is_one_address(strict: Daemon) -> None:
    told = ["2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "[2001:db8:1:1::3]:4711"]
    assert claims(strict, PROXY, *told) == [200, 200, 429]
    assert claims(strict, PROXY, "2001:db8:1:2::1") == [200]


def test_ipv4_in_ipv6s_clothes_is_the_same_address(strict: Daemon) -> None:
    told = ["203.0.113.21", "::ffff:203.0.113.21", "::ffff:cb00:7115"]
    assert claims(strict, PROXY, *told) == [200, 200, 429]


def test_what_is_no_address_counts_as_the_proxy(strict: Daemon) -> None:
    proxy = "127.0.9.77"
    assert claims(strict, proxy, "unknown", "_hidden", "203.0.113.31, x") == [200, 200, 429]


# -- failures --


def test_an_address_fails_only_so_often_a_minute_over_all_orgs(strict: Daemon) -> None:
    orgs = [Org(strict.url, address=new_address()).claim() for _ in range(FAILURES + 1)]
    guesser = new_address()
    answers = []
    with Agent(strict.url, guesser) as agent:
        for at, org in enumerate(orgs):
            asked = {"X-Secret-Key": canaries.secret(), "X-Forwarded-For": f"198.51.100.{at}"}
            answers.append(agent.get(f"/messages/{org.id}", headers=asked))
        right = {"X-Secret-Key": orgs[0].secret}
        answers.append(agent.get(f"/messages/{orgs[0].id}", headers=right))
    assert [one.status_code for one in answers] == [401] * FAILURES + [429, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    for org in orgs:
        assert org.read() == []
        org.agent.close()


def test_without_these_settings_nobody_is_counted_or_believed(gateway: Daemon) -> None:
    """The lock of an org is for an address that fails: a forged header does not make another."""
    address = new_address()
    assert [claim(gateway, address, f"198.51.100.{n}").status_code for n in range(5)] == [200] * 5
    with ExitStack() as stack:
        for _ in range(3 * MOST):
            stack.enter_context(connected(gateway, address))
