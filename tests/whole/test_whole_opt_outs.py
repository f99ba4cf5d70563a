"""Who says STOP hears nothing more, with requests and websockets, and through a kill."""

from __future__ import annotations

import shutil

import pytest
from canaries import canaries
from console import DOCS, hold
from daemon import Daemon, new_home
from test_whole_pages import terminal
from visitors import Org, Phone, problem, until

pytestmark = pytest.mark.whole

NUMBER = "+15550100001"
SIM = {"slot": 0, "number": NUMBER, "label": "SIM1", "carrier": "AT&T"}
ANSWERS = {"stopped": "You are out.", "started": "You are in."}


def next_ticket(phone: Phone) -> tuple[str, str]:
    """To whom the phone is to send next, and what; it does so."""
    while (frame := phone.hear())["type"] != "send_sms":
        pass
    phone.confirm(frame["id"])
    return frame["to"], frame["body"]


def test_a_stop_holds_through_a_kill_until_a_start() -> None:
    them = canaries.number()
    with new_home() as home:
        with Daemon(home) as gateway:
            org = Org(gateway.url).claim()
            with org.agent:
                how = {"enabled": True, **ANSWERS}
                answer = org.agent.put(f"/optouts/{org.id}", json=how)
                assert (answer.status_code, answer.json()["scope"]) == (200, "org")
                waiting = org.ticket(to=them)
                assert org.store(org.sms(" Stop ", address=them)).status_code == 200
                gateway.kill()
        with Daemon(home) as again:
            org = org.on(again)
            with org.agent, org.phone(SIM) as phone:
                assert next_ticket(phone) == (them, "You are out.")
                assert org.settled(waiting)["error"] == "opted_out"
                assert org.send(to=them)["results"][0]["status"] == "failed"
                (one,) = org.agent.get(f"/optouts/{org.id}").json()["opt_outs"]
                assert (one["number"], one["word"]) == (them, "STOP")
                assert phone.receive("START", address=them)["type"] == "inbound_ack"
                assert next_ticket(phone) == (them, "You are in.")
                until(lambda: not org.agent.get(f"/optouts/{org.id}/{them}").json()["opted_out"])
                assert org.send(to=them)["results"][0]["status"] == "sending"
                assert next_ticket(phone)[0] == them


def test_the_org_adds_and_lifts_and_pages_its_list(gateway: Daemon) -> None:
    org = Org(gateway.url).claim()
    with org.agent:
        told = problem(
            org.agent.put(f"/optouts/{org.id}", json={"enabled": 1, "help": "stop"}), 422
        )
        assert told["errors"]
        org.agent.put(f"/optouts/{org.id}", json={"enabled": True})
        numbers = sorted(canaries.number() for _ in range(3))
        for number in numbers:
            assert org.agent.put(f"/optouts/{org.id}/{number}").json()["opted_out"]
        first = org.agent.get(f"/optouts/{org.id}", params={"limit": 2}).json()
        rest = org.agent.get(f"/optouts/{org.id}", params={"after": first["next"]}).json()
        found = [one["number"] for page in (first, rest) for one in page["opt_outs"]]
        assert (found, first["count"], rest["next"]) == (numbers, 2, None)
        lifted = [org.agent.delete(f"/optouts/{org.id}/{numbers[0]}").json() for _ in range(2)]
        assert [one["lifted"] for one in lifted] == [True, False]
        assert org.send(to=numbers[0])["results"][0]["status"] == "queued"
        assert org.send(to=numbers[1])["results"][0]["status"] == "failed"


def test_a_result_a_repeated_call_and_a_dry_run_say_that_a_number_has_opted_out(
    gateway: Daemon,
) -> None:
    org, them = Org(gateway.url).claim(), canaries.number()
    with org.agent:
        org.agent.put(f"/optouts/{org.id}", json={"enabled": True})
        org.agent.put(f"/optouts/{org.id}/{them}")
        sms = {"to": them, "body": canaries.text()}
        (foretold,) = org.send(**sms, dry_run=True)["results"]
        parts = {"encoding": foretold["encoding"], "segments": foretold["segments"]}
        assert foretold == {"to": them, "status": "failed", "error": "opted_out", **parts}
        told = {"id": 1, "to": them, "status": "failed", "error": "opted_out"}
        for replayed in (None, "true"):
            key = {"Idempotency-Key": "one"}
            answer = org.agent.post(f"/send/{org.id}", json=sms, headers=key)
            assert answer.json()["results"] == [told]
            assert answer.headers.get("Idempotent-Replayed") == replayed
        (in_full,) = org.send(**sms, dry_run=False)["results"]
        assert in_full == {**told, "id": 2, **parts}


@pytest.mark.skipif(not shutil.which("curl"), reason="apt-get install curl")
def test_every_command_of_the_page_answers_as_the_page_says() -> None:
    with new_home() as home, Daemon(home) as own:
        org, shell = Org(own.url, "myorg", "my-secret-key-123").claim(), terminal(own)

        def answer(command: str) -> str:
            if "PUT" not in command:
                assert org.store(org.sms("STOP", address="+15553334444")).status_code == 200
            return shell(command)

        with org.agent:
            hold(DOCS / "optout.md", answer)
