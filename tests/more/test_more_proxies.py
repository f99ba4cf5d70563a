"""The configurations of docs/proxies, in the real proxies: what a client and a phone see through
them is what the gateway says.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon
from fronts import LIMIT, Pinged, at, org_behind, phone_of, served, trusting
from proxies import PROXIES, Proxy, proxy
from tools import tool
from visitors import Org, new_address, problem, refused, until

#: Seconds of silence after which the proxies of these tests give a connection up: less than they
#: do as configured, so that nobody waits for long, and more than lie between two pings.
QUIET = 25
SHORTER = {
    "nginx": {"proxy_read_timeout 75s": f"proxy_read_timeout {QUIET}s"},
    "haproxy": {"timeout tunnel 75s": f"timeout tunnel {QUIET}s"},
    "caddy": {},
}
#: After so many pings a phone was silent, but for the pongs, for longer than that.
PINGS = 3


def test_a_claim_an_sms_and_a_ticket_to_a_phone_go_through(front: Proxy) -> None:
    org = org_behind(front).claim()
    with org.agent, phone_of(org, front) as phone:
        sms = org.sms()
        assert org.store(sms).json()["stored"] == 1
        assert [row["body"] for row in org.read()] == [sms["body"]]
        phone.report({"slot": 0, "number": canaries.number()})
        served(org, phone)
        assert phone.receive(canaries.text())["type"] == "inbound_ack"
        assert "Strict-Transport-Security" in org.agent.get("/health").headers


def test_a_secret_in_a_path_arrives_as_it_was_written(front: Proxy) -> None:
    org = org_behind(front, canaries.secret("/../%2F?#é+&//"))
    org.agent.headers["X-Secret-Key"] = org.secret.encode()
    with org.claim().agent:
        del org.agent.headers["X-Secret-Key"]
        for path in (f"/messages/{org.path_form}", f"/sims/{org.path_form}/"):
            assert org.agent.get(path).json().keys() & {"messages", "live_sims"}


def test_events_come_through_as_they_happen(front: Proxy) -> None:
    org = org_behind(front).claim()
    with org.agent, org.agent.get(f"/events/{org.id}", stream=True) as answer:
        lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        assert next(lines).startswith("retry: ")
        for number in (1, 2):
            org.store(org.sms())
            data = next(line for line in lines if line.startswith("data: "))
            assert json.loads(data.removeprefix("data: "))["id"] == number


@pytest.mark.parametrize("claimed", [False, True], ids=["silent", "lying"])
def test_the_gateway_sees_the_client_and_not_the_proxy(front: Proxy, claimed: bool) -> None:
    """Ten failures lock an org for those who fail, and not for who was right from elsewhere; who
    says of itself that it is there is not believed."""
    org = org_behind(front)
    stranger = at(org, front, new_address())
    stranger.agent.headers["X-Secret-Key"] = canaries.secret()
    for one in (org, stranger) if claimed else ():
        one.agent.headers["X-Forwarded-For"] = org.address
    with org.claim().agent, stranger.agent:
        said = [stranger.agent.get(f"/messages/{org.id}") for _ in range(11)]
        assert [answer.status_code for answer in said] == [401] * 10 + [429]
        assert 0 < int(said[-1].headers["Retry-After"]) <= 300
        problem(said[-1], 429)
        assert org.read() == []
        with phone_of(org, front) as phone:
            assert phone.hear_all_before_pong() == []


def test_limits_are_the_gateways_and_in_its_words(front: Proxy) -> None:
    org = org_behind(front).claim()
    with org.agent:
        large = org.sms("x" * 60_000)
        assert org.store(*[large] * 17).json()["stored"] == 17
        assert problem(org.store(*[large] * 18), 413)["type"].endswith("too_large")
        chunks = iter([b"x" * (LIMIT // 4)] * 5)
        problem(org.agent.post("/webhook", data=chunks), 413)
        headers = {"X-Large": "x" * 9_000}
        problem(org.agent.get("/health", headers=headers), 431)
        problem(org.agent.get(f"/messages/{org.id}/{'x' * 9_000}"), 414)
        problem(org.agent.get("/nowhere"), 404)
        problem(org.agent.delete("/health"), 405)


def test_a_phone_with_a_wrong_secret_is_told_before_the_upgrade(front: Proxy) -> None:
    org = org_behind(front).claim()
    wrong = Org(front.url, org.id)
    with org.agent, wrong.agent:
        refusal = refused(wrong.socket_url(), org.address, ssl=trusting(front))
    assert refusal.status_code == 401
    assert refusal.headers["Content-Type"] == "application/problem+json"


def test_a_front_that_speaks_http_2(front: Proxy) -> None:
    org = org_behind(front).claim()
    command = [tool("curl"), "--silent", "--noproxy", "*", "--http2", "--include"]
    command += ["--cacert", str(front.home / "cert.pem"), "-H", f"X-Secret-Key: {org.secret}"]
    with org.agent:
        answer = subprocess.run(
            [*command, f"{front.url}/messages/{org.id}"], capture_output=True, text=True, check=True
        ).stdout
    assert answer.startswith("HTTP/2 200")
    assert f'"org_id":"{org.id}"' in answer


def test_who_calls_without_tls_is_refused_and_not_led_on(front: Proxy) -> None:
    org = Org(front.plain_url)
    with org.agent as plain:
        answer = plain.get(f"/messages/{org.path_form}", allow_redirects=False)
    assert (answer.status_code, answer.text.strip()) == (403, "Use https.")


def test_pings_keep_a_phone_that_says_nothing_on_line(behind: Daemon, tmp_path: Path) -> None:
    """All proxies at once, since the waiting is what takes long."""
    with ExitStack() as stack:
        seen = []
        for name in PROXIES:
            (tmp_path / name).mkdir()
            front = stack.enter_context(proxy(name, tmp_path / name, behind.port, **SHORTER))
            org = org_behind(front)
            phone = stack.enter_context(phone_of(org, front))
            stack.callback(org.agent.close)
            seen.append((org, phone))
        sockets = [cast(Pinged, phone.socket) for _, phone in seen]
        until(lambda: min(one.pings for one in sockets) >= PINGS, within=PINGS * 20 + PATIENCE)
        for org, phone in seen:
            served(org, phone)
