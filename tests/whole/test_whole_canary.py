"""Nobody writes down what is nobody's business: no secret, text or full number in any log.

Unique ones go through every road and every error road; then all that the gateway and its Postgres
have written, and all that the system shows of their processes, is searched for each of them.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from canaries import canaries
from clumsy import STUMBLE
from daemon import PATIENCE, Daemon, new_home, processes_on, wait_for_end
from visitors import Agent, Org, calling, new_address, problem, refused, until

from smsd.store.embedded import conninfo_of

pytestmark = pytest.mark.whole

CLUMSY = (sys.executable, str(Path(__file__).with_name("clumsy.py")), "run")


@pytest.fixture(scope="module", params=["json", "text", "journal"])
def watched(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A gateway with bugs in it, watched until its end, when everything is searched."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    with new_home() as home, limited(resource.RLIMIT_CORE, most):
        form = ("--log-format", request.param)
        daemon = Daemon(home, *form, command=CLUMSY, environ={"PYTHONPATH": os.getcwd()})
        try:
            yield daemon.ready()
        finally:
            assert daemon.stop() == 0
            daemon._close()
        assert "Quoting" in daemon.log.read_text()
        assert canaries.found_in(daemon.said + written(home)) == []


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    """Processes that are started meanwhile have this limit."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@pytest.fixture
def ours(watched: Daemon) -> Iterator[Org]:
    org = Org(watched.url, address=new_address())
    with org.agent:
        yield org.claim()


def written(home: Path) -> str:
    """Every log below a directory: the gateway's has what its Postgres says, too."""
    logs = [path for path in home.rglob("*") if path.is_file() and "log" in path.name.lower()]
    text = "".join(path.read_text(errors="replace") for path in logs)
    assert "smsd.store.embedded" in text
    return text


def shown(home: Path) -> str:
    """What ``ps`` shows of every process of the gateway."""
    found = ""
    for pid in processes_on(home):
        for name in ("cmdline", "environ", "comm"):
            found += (Path("/proc") / str(pid) / name).read_bytes().decode(errors="replace")
    return found


def raw(gateway: Daemon, sent: bytes) -> None:
    """Say these bytes, and wait for the end."""
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as line:
        line.sendall(sent)
        while line.recv(65536):
            pass


def test_every_good_road(watched: Daemon, ours: Org) -> None:
    ours.store(ours.sms(sim_number=canaries.number(), id=canaries.text()))
    sim = canaries.number()
    with ours.phone({"slot": 0, "number": sim, "label": canaries.text(), "carrier": "x"}) as phone:
        phone.receive(canaries.text(), sim_number=canaries.number())
        for success in (True, False):
            ticket = ours.ticket(sim=sim)
            phone.hear()
            phone.confirm(ticket, success, error=canaries.text())
            ours.settled(ticket)
        assert canaries.found_in(shown(watched.home)) == []
    ours.read(sim=sim, address=canaries.number())
    ours.sims()


def test_every_road_of_an_api_key(ours: Org, watched: Daemon) -> None:
    told = {"name": canaries.text(), "scopes": ["read", "send", "phone"], "segments_a_day": 2}
    key = ours.agent.post(f"/keys/{ours.id}", json=told).json()
    borne = {"Authorization": f"Bearer {canaries.note(key['key'])}"}
    own = ours.agent.headers.pop("X-Secret-Key")
    path, draft = f"/send/{ours.id}", {"to": canaries.number(), "body": canaries.text()}
    with Agent(watched.url, ours.address) as agent:
        agent.headers.update(borne)
        for again in (200, 200, 429):
            assert agent.post(path, json=draft).status_code == again
        problem(agent.get(f"/keys/{ours.id}"), 403)
        problem(agent.get(f"/sims/{ours.id}-x"), 401)
        problem(agent.get(f"/sims/{ours.id}", headers={"X-Secret-Key": own}), 400)
        stumble = {"org_id": ours.id, "messages": [ours.sms(f"{STUMBLE} {canaries.text()}")]}
        assert agent.post("/webhook", json=stumble).status_code == 500
    in_url = f"{watched.socket_url}?org_id={ours.id}&key={key['key']}"
    with calling(watched.socket_url) as both:
        both.say(type="auth", org_id=ours.id, key=key["key"], secret_key=own)
        assert both.end()[0] == 4401
    with calling(in_url) as phone, calling(watched.socket_url) as other:
        other.say(type="auth", org_id=ours.id, key=key["key"])
        ours.agent.headers["X-Secret-Key"] = own
        assert ours.agent.delete(f"/keys/{ours.id}/{key['id']}").status_code == 200
        assert phone.end()[0] == 4401
        assert other.end()[0] == 4401
    assert refused(in_url).status_code == 401
    assert canaries.found_in(shown(watched.home)) == []


def test_every_refusal(ours: Org, watched: Daemon) -> None:
    agent, text, number = ours.agent, canaries.text, canaries.number
    path, wrong = f"/messages/{ours.id}", canaries.secret()
    told = {"Referer": f"http://x/{text()}", "Cookie": text(), "Authorization": text()}
    told["User-Agent"] = text()
    told["X-Request-Id"] = text()
    problem(agent.get(f"{path}/{wrong}", headers=told), 400)
    with Agent(watched.url, new_address()) as stranger:
        problem(stranger.get(f"{path}/{wrong}", headers=told), 401)
        problem(stranger.get(f"/sims/{ours.id}/{canaries.secret()}"), 401)
        problem(stranger.get(path, headers={"X-Secret-Key": canaries.secret()}), 401)
        body = {"org_id": f"no {text()}", "secret_key": canaries.secret(), "messages": []}
        problem(stranger.post("/webhook", json=body), 422)
    problem(agent.get(f"/{text()}/{canaries.secret()}"), 404)
    problem(agent.delete(f"{path}/{canaries.secret()}"), 405)
    problem(agent.get(path, params={"limit": text()}), 422)
    problem(agent.get(path, params={"sim": number(), "since_id": text()}), 422)
    problem(ours.post(to=text(), body=text()), 422)
    problem(ours.post(to=number(), body=[text()]), 422)
    problem(ours.store({"address": number(), "body": {"x": text()}}), 422)
    problem(agent.post("/webhook", data=f'{{"org_id":"{text()}'), 400)
    problem(agent.post("/webhook", data=f'{{"{text()}":"{number()}"}}'.encode("utf-16")), 400)
    problem(agent.post("/webhook", data=text(), headers={"Content-Encoding": text()}), 415)
    twice = f'{{"to":"{number()}","to":"{text()}","body":"{text()}"}}'
    problem(agent.post(f"/send/{ours.id}", data=twice), 422)
    problem(agent.post("/webhook", data=text() * 60_000), 413)


def test_every_refusal_of_the_parser(watched: Daemon) -> None:
    secret = canaries.secret
    for odd in (
        f"GET /messages/x/{secret()}",
        f"GET /{secret()} HTTP/1.1\r\n{secret()}\r\n\r\n",
        f"GET /{secret() * 600} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX-Secret-Key: {secret() * 600}\r\n\r\n",
        f"POST /{secret()} HTTP/1.1\r\nHost: x\r\nContent-Length: {secret()}\r\n\r\n",
        f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{secret()}\r\n",
        f"{secret()}\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", watched.port), PATIENCE) as line:
            line.sendall(odd.encode())
            line.shutdown(socket.SHUT_WR)
            while line.recv(65536):
                pass


def test_every_refusal_of_a_phone(ours: Org, watched: Daemon) -> None:
    text = canaries.text
    stranger = Org(ours.url, ours.id, canaries.secret(), new_address())
    assert refused(stranger.socket_url(device_id=text()), stranger.address).status_code == 401
    assert refused(ours.socket_url(device_id=text() * 9), ours.address).status_code == 422
    with calling(watched.socket_url) as phone:
        phone.say(type="auth", org_id=ours.id, secret_key=canaries.secret())
        assert phone.end()[0] == 4401
    with ours.phone() as phone:
        for bad in (text(), json.dumps(text()), f'{{"type":"{text()}"}}', f'{{"type":{text()}'):
            phone.socket.send(bad)
            assert phone.hear()["type"] == "error"
        phone.say(type="inbound", message={"address": canaries.number(), "body": [text()]})
        assert phone.hear()["type"] == "error"
        phone.say(type="send_result", id=1 << 40, success=False, error=text())
        assert phone.hear()["type"] == "error"
        phone.say(type="sims", sims=text())
        assert phone.hear()["type"] == "error"
        phone.socket.send(text().encode())
        assert phone.end()[0] == 4400


def test_a_lock(ours: Org) -> None:
    for _ in range(11):
        last = Org(ours.url, ours.id, canaries.secret(), new_address())
        with last.agent:
            status = last.store(last.sms()).status_code
    assert status == 429


def test_bugs_of_our_own(ours: Org) -> None:
    """Exceptions like to quote what they stumbled over; the log keeps where, not what."""
    stumble = f"{STUMBLE} {canaries.text()}"
    for answer in (ours.store(ours.sms(stumble)), ours.post(to=canaries.number(), body=stumble)):
        assert answer.status_code == 500
        assert canaries.found_in(answer.text) == []
    for frame in (
        {"type": "inbound", "message": ours.sms(stumble)},
        {"type": "send_result", "id": 1, "success": False, "error": stumble},
    ):
        with ours.phone() as phone:
            phone.say(**frame)
            assert phone.end()[0] == 1011


def test_errors_of_postgres(ours: Org, watched: Daemon) -> None:
    """It would quote the row that it refuses, and the whole statement."""
    with psycopg2.connect(conninfo_of(watched.data)) as postgres, postgres.cursor() as cursor:
        cursor.execute("ALTER TABLE messages ADD CHECK (body NOT LIKE 'refused %') NOT VALID")
    postgres.close()
    bad = f"refused {canaries.text()}"
    assert ours.store(ours.sms(), ours.sms(bad)).status_code >= 400
    assert ours.post(to=canaries.number(), body=bad).status_code >= 400
    assert ours.store(ours.sms()).status_code == 200


def test_postgres_down(ours: Org, watched: Daemon) -> None:
    theirs = [pid for pid in processes_on(watched.home) if pid != watched.process.pid]
    for pid in theirs:
        os.kill(pid, signal.SIGSTOP)
    try:
        problem(ours.store(ours.sms()), 503)
        problem(ours.post(to=canaries.number(), body=canaries.text()), 503)
    finally:
        for pid in theirs:
            os.kill(pid, signal.SIGCONT)
    until(lambda: ours.store(ours.sms()).status_code == 200)
    died = watched.postgres()
    os.kill(died, signal.SIGQUIT)
    wait_for_end(died)
    until(lambda: ours.store(ours.sms()).status_code == 200)


def test_no_process_leaves_a_core(watched: Daemon) -> None:
    for pid in processes_on(watched.home):
        (limit,) = [
            line
            for line in (Path("/proc") / str(pid) / "limits").read_text().splitlines()
            if line.startswith("Max core file size")
        ]
        assert limit.split()[4] == "0", limit
