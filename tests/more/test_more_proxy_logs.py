"""No log of a proxy of docs/proxies has anything that is secret, whatever is asked for and whatever
the gateway does; and a gateway that is away is what clients know how to wait for.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, new_home
from fronts import LIMIT, org_behind, phone_of, served, trusting
from proxies import CONFIGURATIONS, PROXIES, Proxy, proxy
from visitors import Org, problem, until

from smsd.rest.api import ROUTES


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
def test_a_gateway_that_is_away_is_a_503_and_no_secret_in_a_log(name: str, tmp_path: Path) -> None:
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
