"""Postgres goes and is back while all go on; or it stands still for longer than an SMS waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from callers import seconds_to_service
from daemon import Daemon, new_home
from faults.postgres import Postgres
from faults.pulse import Pulse
from traffic import Flow
from visitors import Org

pytestmark = pytest.mark.whole

Record = Callable[[str, object], None]
BLOWS: dict[str, Callable[[Postgres], object]] = {
    "fast restart": lambda postgres: postgres.restart("fast"),
    "immediate restart": lambda postgres: postgres.restart("immediate"),
    "backends ended": lambda postgres: postgres.kill_backends(),
    "one backend killed": lambda postgres: postgres.kill_backends(1, "kill"),
}


@pytest.fixture(scope="module")
def patient() -> Iterator[Postgres]:
    with new_home() as home:
        server = Postgres(home)
        yield server
        server.close()


@pytest.fixture(scope="module")
def gateway(patient: Postgres) -> Iterator[Daemon]:
    with new_home() as home, Daemon(home, "--database", patient.conninfo) as daemon:
        daemon.excused = ["the database is away"]
        yield daemon


@pytest.fixture(autouse=True)
def _healed(patient: Postgres) -> Iterator[None]:
    yield
    patient.heal()


@pytest.mark.parametrize("blow", BLOWS)
def test_who_goes_on_while_postgres_goes_and_comes_loses_nothing_and_sends_nothing_twice(
    blow: str, patient: Postgres, gateway: Daemon, org: Org, record_property: Record
) -> None:
    with org.agent, org.phone() as phone:
        with Pulse(gateway.port) as pulse, Flow(org, phone) as flow:
            flow.passes()
            for _ in range(2):
                assert BLOWS[blow](patient) != 0, "there was no backend to hit"
                flow.passes()
        assert pulse.refusals == []
        for caller in flow.callers:
            assert caller.lost() == []
        tickets = [row["id"] for row in all_tickets(org)]
        assert sorted(flow.pushed) == tickets
        assert {row["status"] for row in all_tickets(org)} == {"sent"}
    slowest = max(caller.slowest for caller in flow.callers)
    record_property("slowest refusal", round(slowest, 3))
    record_property("longest stall", round(pulse.longest, 3))
    print(f"{blow}: slowest refusal {slowest:.3f} s, longest stall {pulse.longest:.3f} s,")
    print(f"  {len(flow.pushed)} pushed, {sum(c.answers.count(503) for c in flow.callers)} refused")


def all_tickets(org: Org) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    since = 0
    while page := org.read(direction="out", since_id=since, limit=500):
        rows += page
        since = page[-1]["id"]
    return rows


def test_what_cannot_be_stored_for_10_seconds_ends_only_the_session_that_waits_for_it(
    patient: Postgres, gateway: Daemon, org: Org, record_property: Record
) -> None:
    sms, quiet = org.sms(id="7"), Org(gateway.url).claim()
    with org.agent, quiet.agent, quiet.phone() as patient_phone:
        with Pulse(gateway.port) as pulse, org.phone() as phone:
            ticket = org.ticket()
            assert phone.hear()["id"] == ticket
            patient.freeze()
            phone.confirm(ticket)
            phone.say(type="inbound", message=sms)
            phone.say(type="inbound", message={"id": "8"})
            assert phone.end()[0] == 4503
            assert patient_phone.hear_all_before_pong() == []
            patient.heal()
            service = seconds_to_service(org)
        assert pulse.refusals == []
        assert org.settled(ticket)["status"] == "sent"
        with org.phone() as phone:
            phone.say(type="inbound", message=sms)
            assert phone.hear() == {"type": "inbound_ack", "stored": 1, "id": "7"}
        assert [row["body"] for row in org.read(direction="in")] == [sms["body"]]
        assert quiet.ticket() == patient_phone.hear()["id"]
    print(f"frozen for 10 s: longest stall {pulse.longest:.3f} s, service after {service:.3f} s")
    record_property("longest stall", round(pulse.longest, 3))
    record_property("service after", round(service, 3))
