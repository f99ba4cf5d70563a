"""What a newcomer pastes does what the README says, and the reference phone does the rest."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from canaries import canaries
from daemon import Daemon, new_home
from handset import Handset
from visitors import Agent, Org, until

pytestmark = pytest.mark.whole

README = Path(__file__).parents[2] / "README.md"
#: The gateway that the README speaks of.
USUAL = "http://127.0.0.1:8080"


def quickstart(text: str) -> list[str]:
    """The three lines to paste, without a prompt in front."""
    return re.findall(
        r"(?:\$ |^ *)(curl .*(?:/webhook|/messages/myorg|/send/myorg)\b.*)", text, re.M
    )[:3]


def pasted(line: str, url: str) -> Any:
    """The answer to a line, by curl where there is one."""
    words = shlex.split(line.replace(USUAL, url))
    if shutil.which("curl"):
        run = subprocess.run(
            [words[0], "--silent", "--show-error", "--noproxy", "*", *words[1:]],
            capture_output=True,
            check=True,
        )
        return json.loads(run.stdout)
    return asked(words[1:])


def asked(words: list[str]) -> Any:
    """The same without curl: method, headers, body and URL of its command line."""
    method, body, headers, url = "GET", None, {}, ""
    while words:
        match words.pop(0):
            case "-X":
                method = words.pop(0)
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "-d":
                body = words.pop(0)
            case word:
                url = word
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    try:
        connection.request(method, parts.path, body, headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_the_three_lines_of_the_readme_do_what_it_says(gateway: Daemon) -> None:
    store, read, send = quickstart(README.read_text())

    assert pasted(store, gateway.url) == {"ok": True, "org_id": "myorg", "stored": 1}
    listed = pasted(read, gateway.url)
    assert (listed["org_id"], listed["count"]) == ("myorg", 1)
    (sms,) = listed["messages"]
    assert (sms["address"], sms["body"], sms["direction"]) == ("+15551112222", "hi", "in")
    sent = pasted(send, gateway.url)
    (result,) = sent.pop("results")
    assert sent == {"ok": True, "device_online": False, "queued": 1}
    assert (result["to"], result["status"]) == ("+15553334444", "queued")

    with Handset(gateway.socket_url, "myorg", "my-secret-key-123") as phone:
        phone.shows("sent from API")
        rows = f"{gateway.url}/messages/myorg?direction=out"
        with Agent(rows) as agent:
            agent.headers["X-Secret-Key"] = "my-secret-key-123"
            (row,) = until(
                lambda: [m for m in agent.get("").json()["messages"] if m["status"] == "sent"]
            )
    assert (row["id"], row["attempts"], row["error"]) == (result["id"], 1, None)


def test_the_announcement_and_the_pages_have_the_same_three_lines(
    gateway: Daemon, agent: Agent
) -> None:
    lines = quickstart(README.read_text())
    assert len(lines) == 3
    assert quickstart(gateway.said) == [line.replace(USUAL, gateway.url) for line in lines]
    assert quickstart(agent.get("/llms.txt").text) == lines


def test_the_same_lines_without_curl(gateway: Daemon) -> None:
    store, read, send = (
        line.replace("myorg", "other-org") for line in quickstart(README.read_text())
    )
    answers = [
        asked(shlex.split(line.replace(USUAL, gateway.url))[1:]) for line in (store, read, send)
    ]
    assert [answer.get("stored", answer.get("count", 1)) for answer in answers] == [1, 1, 1]


def test_the_reference_phone_sends_and_what_is_typed_arrives(org: Org, gateway: Daemon) -> None:
    number, sender = canaries.number(), canaries.number()
    with Handset(gateway.socket_url, org.id, org.secret, "--number", number) as phone:
        until(lambda: [sim for sim in org.sims()["live_sims"] if sim["number"] == number])
        text = canaries.text()
        ticket = org.ticket(sim=number, body=text)
        phone.shows(text)
        row = org.settled(ticket)
        assert (row["status"], row["sim_number"], row["attempts"]) == ("sent", number, 1)
        assert row["sent_at"] is not None

        typed = canaries.text()
        phone.type(f"{sender} {typed}")
        (sms,) = until(lambda: org.read(direction="in"))
        assert (sms["address"], sms["body"], sms["sim_number"]) == (sender, typed, number)


def test_the_reference_phone_with_a_ledger_and_with_failures(org: Org, gateway: Daemon) -> None:
    with new_home() as home:
        ledger = str(home / "ledger")
        argv = ("--ledger", ledger, "--fail-every", "2")
        with Handset(gateway.socket_url, org.id, org.secret, *argv):
            until(lambda: org.sims()["online_devices"])
            tickets = [org.ticket() for _ in range(4)]
            states = [org.settled(ticket)["status"] for ticket in tickets]
        assert sorted(states) == ["failed", "failed", "sent", "sent"]
        assert org.read(status="failed")[0]["error"] == "phone_failed"
        assert os.path.getsize(ledger) > 0
