"""The configurations of docs/proxies, in the real proxies: what a client and a phone see through
them is what the gateway says, and their logs have nothing that is secret.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, new_home
from proxies import CONFIGURATIONS, PROXIES, Proxy, proxy
from tools import tool
from visitors import Agent, Org, Phone, calling, new_address, problem, refused, until
from websockets.frames import Opcode
from websockets.sync.client import ClientConnection

from smsd.rest.api import ROUTES

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
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


@pytest.fixture(scope="module")
def gateway(home: Path) -> Iterator[Daemon]:
    with Daemon(home, "--trusted-proxies=127.0.0.1") as daemon:
        yield daemon


@pytest.fixture(scope="module", params=PROXIES)
def front(
    request: pytest.FixtureRequest, gateway: Daemon, tmp_path_factory: Any
) -> Iterator[Proxy]:
    """Each proxy in its turn."""
    home = tmp_path_factory.mktemp(request.param)
    with proxy(request.param, home, gateway.port, **SHORTER) as front:
        until(lambda: agent(front).get("/ready").status_code == 200)
        yield front


def trusting(front: Proxy) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(front.home / "cert.pem"))


def agent(front: Proxy, address: str = "127.0.0.1") -> Agent:
    made = Agent(front.url, address)
    made.verify = str(front.home / "cert.pem")
    return made


def org_behind(front: Proxy, secret: str | None = None) -> Org:
    """An org whose people call from an address of their own, through the proxy."""
    org = Org(front.url, secret=secret or canaries.secret(), address=new_address())
    return at(org, front, org.address)


def at(org: Org, front: Proxy, address: str) -> Org:
    """The same org's people at another address."""
    there = org.at(address)
    there.agent.verify = str(front.home / "cert.pem")
    return there


class Pinged(ClientConnection):
    """Counts the pings that come."""

    pings = 0

    def process_event(self, event: Any) -> None:
        self.pings += getattr(event, "opcode", None) is Opcode.PING
        super().process_event(event)


@contextmanager
def phone_of(org: Org, front: Proxy) -> Iterator[Phone]:
    options = {"ssl": trusting(front), "create_connection": Pinged}
    with calling(org.socket_url(), org.address, **options) as phone:
        assert phone.hear() == {"type": "connected", "org_id": org.id}
        yield phone


def served(org: Org, phone: Phone) -> None:
    """A ticket goes to the phone, and its result comes back."""
    ticket = org.ticket()
    pushed = phone.hear()
    assert (pushed["type"], pushed["id"]) == ("send_sms", ticket)
    phone.confirm(ticket)
    assert org.settled(ticket)["status"] == "sent"


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


# -- logs --


def everything(org: Org, front: Proxy) -> list[int]:
    """What is answered to every request in which a secret, a text or a number may stand."""
    secret, ask, host = org.secret, org.agent.get, f"127.0.0.1:{front.port}"
    canaries.note(secret.upper())
    answers = [
        org.store(org.sms()),
        org.post(to=canaries.number(), body=canaries.text()),
        ask(f"/messages/{org.path_form}?address={canaries.number()}"),
        ask(f"/websocket?org_id={org.id}&secret_key={secret}"),
        ask(f"/{secret}"),
        ask(f"/health/{secret}?{secret}", headers={"Referer": secret}),
        ask("/health", headers={"User-Agent": secret, "Cookie": secret}),
        org.agent.request(secret, f"/messages/{org.path_form}"),
        org.agent.request(secret.upper(), f"/messages/{org.path_form}"),
    ]
    say(front, f"GET {front.url}/messages/{org.path_form} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    say(front, f"GET /messages/{org.path_form} HTTP/1.1\r\nHo st: {secret}\r\n\r\n")
    say(front, f"GET /messages/{org.path_form} {secret}\r\n\r\n")
    return [answer.status_code for answer in answers]


def say(front: Proxy, request: str) -> None:
    """These very bytes, and the beginning of what is said to them."""
    plain = socket.create_connection(("127.0.0.1", front.port), PATIENCE)
    with trusting(front).wrap_socket(plain, server_hostname="127.0.0.1") as line:
        line.sendall(request.encode())
        line.recv(4096)


def test_no_log_of_a_proxy_has_anything_that_is_secret(front: Proxy) -> None:
    org = org_behind(front).claim()
    with org.agent, phone_of(org, front) as phone:
        served(org, phone)
        everything(org, front)
        body = org.secret.encode() * (LIMIT // 8)
        assert org.agent.post("/webhook", data=body).status_code == 413
    until(lambda: re.search(r"/?\bwebsocket\b", front.log()))
    assert re.search(r"\bmessages\b", front.log())
    assert org.address in front.log()
    assert canaries.found_in(front.log()) == []


@pytest.mark.parametrize("name", PROXIES)
def test_a_gateway_that_is_away_is_a_503_and_no_secret_in_a_log(
    name: str, home: Path, tmp_path: Path
) -> None:
    """At first somebody is there who is ready and hangs up on every request, then nobody."""
    with socket.create_server(("127.0.0.1", 0)) as rude, ExitStack() as stack:
        port = rude.getsockname()[1]
        front = stack.enter_context(proxy(name, tmp_path, port))
        org = org_behind(front)
        stack.enter_context(org.agent)
        # On a connection that was good once haproxy hangs up as the gateway did.
        org.agent.headers["Connection"] = "close"
        with hanging_up(rude):
            assert set(everything(org, front)) <= {400, 413, 431, 502, 503}
        rude.close()
        assert set(everything(org, front)) <= {400, 413, 431, 502, 503}
        until(lambda: org.store().status_code == 503)
        assert problem(answer := org.store(), 503)["type"].endswith("unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert canaries.found_in(front.log()) == []
        with new_home() as other, Daemon(other, port=port):
            until(lambda: org.store().status_code == 200)


@contextmanager
def hanging_up(server: socket.socket) -> Iterator[None]:
    """Who asks whether we are ready hears yes; whoever else comes is left without a word."""

    def leave() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line:
                if line.recv(1024).startswith(b"GET /ready "):
                    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=leave)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_every_first_part_of_a_path_that_may_be_logged_is_one_of_ours() -> None:
    known = {path.split("/")[1] for route in ROUTES for path in route.paths}
    for name in ("nginx.conf", "haproxy.cfg", "Caddyfile"):
        (named,) = re.findall(r"\((webhook[|a-z]+)\)", (CONFIGURATIONS / name).read_text())
        assert known <= set(named.split("|")), name


# -- quiet --


def test_pings_keep_a_phone_that_says_nothing_on_line(gateway: Daemon, tmp_path: Path) -> None:
    """All proxies at once, since the waiting is what takes long."""
    with ExitStack() as stack:
        seen = []
        for name in PROXIES:
            (tmp_path / name).mkdir()
            front = stack.enter_context(proxy(name, tmp_path / name, gateway.port, **SHORTER))
            org = org_behind(front)
            phone = stack.enter_context(phone_of(org, front))
            stack.callback(org.agent.close)
            seen.append((org, phone))
        sockets = [cast(Pinged, phone.socket) for _, phone in seen]
        until(lambda: min(one.pings for one in sockets) >= PINGS, within=PINGS * 20 + PATIENCE)
        for org, phone in seen:
            served(org, phone)
