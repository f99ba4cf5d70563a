"""Event streams of a running gateway, read with a client that others wrote."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, bare_environment, new_home
from sighted import SHOWN, Metrics
from streams import Stream, stream
from test_whole_certificates import certificate
from visitors import Agent, Org, problem

pytestmark = pytest.mark.whole


def test_a_reader_hears_of_sms_tickets_and_phones_as_they_come(org: Org) -> None:
    with stream(org) as heard:
        body = canaries.text()
        org.store(org.sms(body, sim_slot=1))
        sms = heard.next()
        assert (sms.type, sms.data["body"], sms.data) == ("message.received", body, org.row(1))
        with org.phone({"slot": 0, "number": "+15550100001"}) as phone:
            assert heard.next().type == "phone.online"
            told = heard.next()
            assert (told.type, told.data["sims"][0]["number"]) == ("sims.changed", "+15550100001")
            ticket = org.ticket()
            assert (heard.next().type, phone.hear()["id"]) == ("ticket.sending", ticket)
            phone.confirm(ticket)
            sent = heard.next()
            assert (sent.type, sent.data["id"], sent.data["status"]) == (
                "ticket.sent",
                ticket,
                "sent",
            )
        assert heard.next().type == "phone.offline"


def test_the_secret_may_be_in_the_path_and_a_key_may_read(org: Org) -> None:
    made = org.agent.post(f"/keys/{org.id}", json={"name": "reader", "scopes": ["read"]}).json()
    key = {"Authorization": f"Bearer {made['key']}"}
    with stream(org, f"/events/{org.path_form}") as by_path, Agent(org.url) as program:
        canaries.note(made["key"])
        answer = program.get(f"/events/{org.id}", headers=key, stream=True)
        by_key = Stream(answer)
        org.store(org.sms())
        assert by_path.next() == by_key.next()
        assert org.agent.delete(f"/keys/{org.id}/{made['id']}").status_code == 200
        assert by_key.has_ended()
        problem(program.get(f"/events/{org.id}", headers=key), 401)
        org.store(org.sms())
        assert by_path.next().data["id"] == 2


def test_filters_and_what_they_cannot_be(org: Org) -> None:
    number = canaries.number()
    with (
        stream(org, types="ticket.queued") as tickets,
        stream(org, direction="in", address=f" {number} ") as person,
    ):
        org.store(org.sms(), org.sms(address=number))
        ticket = org.ticket()
        assert tickets.next().data["id"] == ticket
        assert person.next().data["id"] == 2
    asked = {"types": "ticket.lost", "direction": "up", "since": "-1"}
    with org.agent.get(f"/events/{org.id}", params=asked) as answer:
        faults = problem(answer, 422)["errors"]
    assert sorted(fault["loc"][0] for fault in faults) == ["direction", "since", "types"]
    with org.agent.get(f"/events/{org.id}", headers={"Last-Event-ID": "99999"}) as answer:
        (fault,) = problem(answer, 422)["errors"]
    assert fault["loc"] == ["Last-Event-ID"]
    with org.agent.get(f"/events/{org.id}", params={"since": 0}) as answer:
        gone = problem(answer, 410)
    assert gone["type"] == "urn:smsd:problem:events_gone"
    with stream(org, since=gone["oldest"]) as again:
        assert [again.next().type for _ in range(3)] == [
            "message.received",
            "message.received",
            "ticket.queued",
        ]


def test_a_walk_through_restarts_misses_nothing_and_hears_nothing_twice() -> None:
    seen: list[int] = []
    with new_home() as home, ThreadPoolExecutor(1) as meanwhile:
        with Daemon(home) as gateway:
            org, port = Org(gateway.url), gateway.port
            with org.agent:
                org.claim()
            with stream(org) as heard:
                org.store(*[org.sms() for _ in range(20)])
                seen += [heard.next().data["id"] for _ in range(13)]
                cursor = heard.cursor
                gateway.process.send_signal(signal.SIGTERM)
                assert heard.has_ended()
                assert gateway.process.wait(PATIENCE) == 0
        for end in ("kill", "stop"):
            with Daemon(home, port=port) as gateway:
                writing = meanwhile.submit(org.store, *[org.sms() for _ in range(100)])
                with stream(org, since=cursor) as heard:
                    for _ in range(60):
                        seen.append(heard.next().data["id"])
                    assert writing.result(PATIENCE).status_code == 200
                    cursor = heard.cursor
                    getattr(gateway, end)()
                org.agent.close()
        with Daemon(home, port=port) as gateway, stream(org, since=cursor) as heard:
            while len(seen) < 220:
                seen.append(heard.next().data["id"])
        org.agent.close()
    assert seen == list(range(1, 221))


def test_open_streams_are_counted_and_do_not_hold_up_the_end() -> None:
    with new_home() as home, Daemon(home, *SHOWN) as gateway:
        org, metrics = Org(gateway.url), Metrics(gateway)
        with org.agent:
            org.claim()
        with stream(org) as first:
            with stream(org), stream(org):
                metrics.wait_for("smsd_event_streams", 3)
            metrics.wait_for("smsd_event_streams", 1)
            gateway.process.send_signal(signal.SIGTERM)
            assert first.has_ended()
            assert gateway.process.wait(PATIENCE) == 0


def test_a_stream_goes_over_tls_and_ends_in_order(tmp_path: Path) -> None:
    certificate(tmp_path, "sms.example")
    pem = tmp_path / "both.pem"
    secure = f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    with new_home() as home, Daemon(home, "--listen", secure) as gateway:
        told = next(e["msg"] for e in gateway.events() if e["msg"].startswith("listening on"))
        (url,) = re.findall(r"https://[\d.:]+", told)
        org = Org(gateway.url).claim()
        with Agent(url) as agent:
            agent.verify = False
            agent.headers["X-Secret-Key"] = org.secret
            with warnings.catch_warnings(action="ignore"):
                heard = Stream(agent.get(f"/events/{org.id}", stream=True))
            org.store(org.sms())
            assert heard.next().type == "message.received"
            gateway.process.send_signal(signal.SIGTERM)
            assert heard.has_ended()
            assert gateway.process.wait(PATIENCE) == 0
        org.agent.close()


def test_streams_of_an_org_end_when_the_operator_closes_it(org: Org, gateway: Daemon) -> None:
    close = [sys.executable, "-m", "smsd", "org", "close", org.id, "--yes"]
    with stream(org) as heard:
        environ = bare_environment(SMSD_DATA_DIR=str(gateway.data))
        subprocess.run(close, env=environ, check=True, capture_output=True, timeout=PATIENCE)
        assert heard.has_ended()
