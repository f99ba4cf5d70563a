"""API keys over the wire, with requests and websockets: an agent and a phone without the secret."""

from __future__ import annotations

import doctest
import re
import shutil
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from canaries import canaries
from console import DOCS, VARIES, Shell, hold
from daemon import Daemon, bare_environment, new_home
from test_whole_pages import python_of, terminal
from visitors import Agent, Org, Phone, calling, new_address, problem, refused, until

from smsd.store.embedded import conninfo_of

pytestmark = pytest.mark.whole

SIM = {"slot": 0, "number": "+15550100001"}
#: A key's text, its id, and how long somebody has to wait for tomorrow.
DIFFERS = (
    (r"smsd_[A-Za-z0-9_-]{43}", "smsd_2dN0x5vQk7b1Ew9TzYc4Rg8UoLpHs3JmAiXfVjBnKqD"),
    (r'"id":"[0-9a-f]{12}"', '"id":"3f9a0c51e7d2"'),
    *VARIES,
)


def made(org: Org, *scopes: str, **more: Any) -> dict[str, Any]:
    """A key, as the answer shows it once."""
    told = {"name": canaries.text()[:64], "scopes": scopes, **more}
    answer = org.agent.post(f"/keys/{org.id}", json=told)
    assert answer.status_code == 200, answer.text
    key: dict[str, Any] = answer.json()
    canaries.note(key["key"])
    return key


def holder(url: str, key: dict[str, Any]) -> Agent:
    """Somebody who has the key and nothing else."""
    agent = Agent(url, new_address())
    agent.headers["Authorization"] = f"Bearer {key['key']}"
    return agent


def delete(org: Org, key: dict[str, Any]) -> None:
    answer = org.agent.delete(f"/keys/{org.id}/{key['id']}")
    assert answer.json() == {"ok": True, "org_id": org.id, "id": key["id"]}


def greeted(phone: Phone, org: Org) -> Phone:
    assert phone.hear() == {"type": "connected", "org_id": org.id}
    return phone


def socket_of(org: Org) -> str:
    """Where phones knock, with nothing of who they are."""
    return org.socket_url().partition("?")[0]


# -- agents ----------------------------------------------------------------------------------


def test_an_agent_with_a_key_reads_and_sends_and_does_nothing_else(org: Org) -> None:
    ours, text = org.sms(), canaries.text()
    org.store(ours)
    with holder(org.url, made(org, "read", "send")) as agent, org.phone(SIM) as phone:
        (row,) = agent.get(f"/messages/{org.id}").json()["messages"]
        assert row["body"] == ours["body"]
        assert agent.get(f"/sims/{org.id}").json()["online_devices"] == 1
        sent = agent.post(f"/send/{org.id}", json={"to": canaries.number(), "body": text})
        assert phone.hear()["id"] == sent.json()["results"][0]["id"]
        told = problem(
            agent.post("/webhook", json={"org_id": org.id, "messages": [ours]}),
            403,
        )
        assert "scope phone" in told["detail"]
        for method, path in (
            ("GET", f"/keys/{org.id}"),
            ("POST", f"/keys/{org.id}"),
            ("DELETE", f"/keys/{org.id}/0123456789ab"),
            ("POST", f"/orgs/{org.id}/secret"),
            ("DELETE", f"/messages/{org.id}?address=1555"),
        ):
            told = problem(agent.request(method, path, json={}), 403)
            assert told["type"] == "urn:smsd:problem:missing_scope"
    assert len(org.read()) == 2


def test_a_key_opens_no_other_org_and_claims_none(org: Org, gateway: Daemon) -> None:
    other = Org(gateway.url)
    with other.agent, holder(org.url, made(org, "read", "phone")) as agent:
        other.claim()
        for answer in (
            agent.get(f"/messages/{other.id}"),
            agent.get(f"/messages/{org.id}", headers={"Authorization": "Bearer smsd_wrong"}),
            agent.post("/webhook", json={"org_id": f"{org.id}-x", "messages": []}),
        ):
            assert problem(answer, 401)["type"] == "urn:smsd:problem:wrong_key"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        problem(agent.get(f"/messages/{org.id}", headers={"X-Secret-Key": org.secret}), 400)
        assert agent.get(f"/messages/{org.id}").status_code == 200


def test_wrong_keys_lock_nobody_out(org: Org) -> None:
    with Agent(org.url, org.address) as stranger:
        for number in range(15):
            wrong = {"Authorization": f"Bearer smsd_{number:043}"}
            problem(stranger.get(f"/sims/{org.id}", headers=wrong), 401)
    assert org.sims()["online_devices"] == 0


def test_a_budget_holds_however_many_send_at_once(org: Org) -> None:
    key = made(org, "send", segments_a_day=5, to_prefixes=["+1555"])
    with holder(org.url, key) as agent:
        drafts = [{"to": canaries.number(), "body": canaries.text()} for _ in range(3)]
        assert agent.post(f"/send/{org.id}", json={"messages": drafts}).status_code == 200
        beyond = agent.post(f"/send/{org.id}", json={"messages": drafts})
        assert problem(beyond, 429)["type"] == "urn:smsd:problem:budget_spent"
        assert 0 < int(beyond.headers["Retry-After"]) <= 86_400
        abroad = agent.post(f"/send/{org.id}", json={"to": "+4420794600", "body": "x"})
        assert problem(abroad, 422)["errors"][0]["loc"] == ["to"]
        assert agent.post(f"/send/{org.id}", json={"messages": drafts[:2]}).status_code == 200
    assert len(org.read()) == 5
    (shown,) = org.agent.get(f"/keys/{org.id}").json()["keys"]
    assert shown["segments_today"] == 5
    assert shown["last_used_at"] is not None


def test_a_deleted_key_opens_nothing_from_then_on(org: Org) -> None:
    key, other = made(org, "read"), made(org, "read")
    with holder(org.url, key) as agent, holder(org.url, other) as neighbour:
        assert agent.get(f"/messages/{org.id}").status_code == 200
        delete(org, key)
        problem(agent.get(f"/messages/{org.id}"), 401)
        assert neighbour.get(f"/messages/{org.id}").status_code == 200
    problem(org.agent.delete(f"/keys/{org.id}/{key['id']}"), 404)


# -- phones ----------------------------------------------------------------------------------


def test_a_lost_phone_is_shut_out_alone(org: Org) -> None:
    lost, kept = made(org, "phone"), made(org, "phone")
    bearer = {"Authorization": f"Bearer {kept['key']}", "X-Org-Id": org.id}
    in_url = f"{socket_of(org)}?org_id={org.id}&key={lost['key']}"
    with (
        org.phone({"slot": 0, "number": canaries.number()}) as first,
        calling(in_url) as by_url,
        calling(socket_of(org)) as by_frame,
        calling(socket_of(org), additional_headers=bearer) as by_header,
    ):
        by_frame.say(type="auth", org_id=org.id, key=lost["key"])
        for phone in (by_url, by_frame, by_header):
            greeted(phone, org)
        delete(org, lost)
        for phone in (by_url, by_frame):
            assert phone.end()[0] == 4401
        by_header.report(SIM)
        ticket = org.ticket(sim=SIM["number"])
        assert by_header.hear()["id"] == ticket
        by_header.confirm(ticket)
        assert org.settled(ticket)["status"] == "sent"
        assert first.hear_all_before_pong() == []
    assert refused(in_url).status_code == 401
    with calling(socket_of(org)) as phone:
        phone.say(type="auth", org_id=org.id, key=lost["key"])
        assert phone.hear()["code"] == "wrong_key"
        assert phone.end()[0] == 4401


def test_a_phone_does_all_that_a_phone_does_with_its_key(org: Org) -> None:
    key = made(org, "phone")
    text = canaries.text()
    with calling(socket_of(org)) as phone:
        phone.say(type="auth", org_id=org.id, key=key["key"], device_id="d", ledger=True)
        greeted(phone, org).report(SIM)
        assert phone.receive(text, id="1")["type"] == "inbound_ack"
        ticket = org.ticket()
        frame = phone.hear()
        phone.confirm(ticket, ref=frame["ref"])
        assert phone.hear() == {"type": "result_ack", "id": ticket}
    with holder(org.url, key) as agent:
        told = {"org_id": org.id, "messages": [org.sms(text, id="2")]}
        assert agent.post("/webhook", json=told).json()["stored"] == 1
        problem(agent.get(f"/messages/{org.id}"), 403)
    assert len(org.read(direction="in")) == 2


def test_a_key_that_is_for_no_phone_connects_none(org: Org) -> None:
    key = made(org, "read", "send", "hooks")
    bearer = {"Authorization": f"Bearer {key['key']}", "X-Org-Id": org.id}
    assert refused(socket_of(org), additional_headers=bearer).status_code == 403
    with calling(socket_of(org)) as phone:
        phone.say(type="auth", org_id=org.id, key=key["key"])
        assert phone.hear()["code"] == "missing_scope"
        assert phone.end()[0] == 4403


def test_a_phone_goes_when_its_key_expires(org: Org) -> None:
    key = made(org, "phone", expires_in=1)
    with calling(f"{socket_of(org)}?org_id={org.id}&key={key['key']}") as phone:
        assert greeted(phone, org).end()[0] == 4401


# -- operators, restarts ---------------------------------------------------------------------


@pytest.fixture
def own() -> Iterator[Daemon]:
    """A gateway on which nothing has happened yet."""
    with new_home() as home, Daemon(home) as daemon:
        yield daemon


def test_keys_outlast_a_restart_and_a_rotation_and_end_with_a_closed_org() -> None:
    with new_home() as home:
        with Daemon(home) as daemon:
            org = Org(daemon.url)
            with org.agent:
                org.claim()
                key = made(org, "read")
                told = {"secret_key": org.secret, "new_secret_key": canaries.secret()}
                assert org.agent.post(f"/orgs/{org.id}/secret", json=told).status_code == 200
        with Daemon(home) as daemon, holder(daemon.url, key) as agent:
            assert agent.get(f"/messages/{org.id}").status_code == 200
            shell = Shell(home, bare_environment(SMSD_DATA_DIR=str(daemon.data)))
            assert re.search(r"^api keys +1$", shell(f"smsd org show {org.id}"), re.MULTILINE)
            assert key["key"] not in shell(f"smsd org export {org.id} --json")
            shell(f"smsd org close {org.id} --yes")
            until(lambda: agent.get(f"/messages/{org.id}").status_code == 401)
            shell(f"smsd org delete {org.id} --yes")
            with psycopg2.connect(conninfo_of(daemon.data)) as postgres, postgres.cursor() as rows:
                rows.execute("SELECT count(*) FROM api_keys")
                assert rows.fetchone() == (0,)
            postgres.close()


# -- keys.md ---------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("curl"), reason="apt-get install curl")
def test_every_command_of_the_keys_page_answers_as_the_page_says(own: Daemon) -> None:
    org = Org(own.url, "myorg", "my-secret-key-123")
    with org.agent:
        org.claim()
    shell, ids = terminal(own), []

    def answer(command: str) -> str:
        said = shell(command.replace("3f9a0c51e7d2", ids[0]) if ids else command)
        ids.extend(re.findall(r'"id":"([0-9a-f]{12})"', said))
        return said

    hold(DOCS / "keys.md", answer, DIFFERS)


def test_every_line_of_python_of_the_keys_page_answers_as_the_page_says(org: Org) -> None:
    names: dict[str, object] = {"key": made(org, "read")["key"]}
    for example in python_of(DOCS / "keys.md", org.url):
        source = example.source.replace("myorg", org.id)
        once = doctest.DocTest(
            [doctest.Example(source, example.want)], names, "keys.md", "keys.md", 0, None
        )
        assert doctest.DocTestRunner().run(once, clear_globs=False).failed == 0, source
        names = once.globs
