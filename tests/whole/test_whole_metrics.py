"""What the gateway shows of itself is what happened, and nothing that is nobody's business."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from canaries import canaries
from daemon import Daemon, new_home
from faults.postgres import Postgres
from sighted import SHOWN, Metrics
from visitors import Agent, Org, problem

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def patient() -> Iterator[Postgres]:
    with new_home() as home:
        server = Postgres(home)
        yield server
        server.close()


@pytest.fixture
def shown(patient: Postgres) -> Iterator[Daemon]:
    """A gateway of the test's own that shows its metrics, on a database that may be away."""
    arguments = ("--database", patient.conninfo_by_tcp, *SHOWN)
    with new_home() as home, Daemon(home, *arguments) as daemon:
        daemon.excused = ["the database is away"]
        yield daemon
        patient.heal()


def test_the_numbers_are_those_of_what_was_done(shown: Daemon) -> None:
    metrics, org = Metrics(shown), Org(shown.url)
    org.store(org.sms(), org.sms())
    Agent(shown.url).get(f"/messages/{org.path_form}")
    problem(org.agent.get(f"/messages/{org.id}", headers={"X-Secret-Key": canaries.secret()}), 401)
    problem(org.agent.get("/nowhere"), 404)
    waiting = org.ticket(sim="+15550001111")
    with org.phone({"slot": 0, "number": canaries.number()}) as phone:
        phone.receive(canaries.text())
        first, second = org.ticket(), org.ticket()
        assert [phone.hear()["id"] for _ in range(2)] == [first, second]
        phone.confirm(first)
        phone.confirm(second, success=False)
        phone.confirm(waiting)
        phone.hear_all_before_pong()
        org.settled(second)
        seen = metrics.wait_for('smsd_results_total{outcome="unknown"}', 1)
    expected = {
        'smsd_http_requests_total{method="POST",route="/webhook",status="200"}': 1,
        'smsd_http_requests_total{method="GET",route="/websocket",status="101"}': 1,
        'smsd_http_refused_total{status="404"}': 1,
        'smsd_http_request_seconds_count{method="POST",route="/send/<org_id>"}': 3,
        'smsd_messages_accepted_total{direction="in"}': 3,
        'smsd_messages_accepted_total{direction="out"}': 3,
        'smsd_results_total{outcome="sent"}': 1,
        'smsd_results_total{outcome="failed"}': 1,
        "smsd_phones": 1,
        "smsd_phone_connections": 1,
        "smsd_phone_arrivals_total": 1,
        "smsd_pushes_total": 2,
        "smsd_redeliveries_total": 0,
        "smsd_receipt_seconds_count": 2,
        "smsd_result_seconds_count": 2,
        "smsd_postgres_up": 1,
        'smsd_batch_rows_total{lane="inbound"}': 1,
        'smsd_batch_rows_total{lane="tickets"}': 3,
        "smsd_claims_total": 1,
        "smsd_wrong_secrets_total": 1,
        "smsd_locks_total": 0,
        "smsd_argon2_waiting": 0,
    }
    assert {name: seen.get(name) for name in expected} == expected
    read = {
        value
        for name, value in seen.items()
        if name.startswith("smsd_http_requests_total") and "<org_id>/<secret_key>" in name
    }
    assert read == {1}
    seen = metrics.wait_for("smsd_phones", 0)
    seen = metrics.wait_for('smsd_tickets{status="queued"}', 1)
    assert seen["smsd_ticket_oldest_queued_seconds"] > 0
    assert org.id not in metrics.page
    assert canaries.found_in(metrics.page) == []


def test_wrong_secrets_and_the_lock_that_they_bring_about_are_counted(shown: Daemon) -> None:
    org = Org(shown.url).claim()
    wrong = {"X-Secret-Key": canaries.secret()}
    for _ in range(11):
        org.at("127.7.9.9").agent.get(f"/messages/{org.id}", headers=wrong)
    seen = Metrics(shown).scrape()
    assert (seen["smsd_wrong_secrets_total"], seen["smsd_locks_total"]) == (10, 1)


@pytest.mark.parametrize("trouble", ["stop", "freeze"])
def test_without_its_database_the_page_still_comes_and_says_so(
    trouble: str, patient: Postgres, shown: Daemon
) -> None:
    metrics = Metrics(shown)
    assert metrics.scrape()["smsd_postgres_up"] == 1
    patient.stop("fast") if trouble == "stop" else patient.freeze()
    seen = metrics.wait_for("smsd_postgres_up", 0)
    assert 'smsd_tickets{status="queued"}' not in seen
    patient.heal()
    assert 'smsd_tickets{status="queued"}' in metrics.wait_for("smsd_postgres_up", 1)


def test_metrics_are_on_their_own_listener_and_nothing_else_is(shown: Daemon) -> None:
    problem(Agent(shown.url).get("/metrics"), 404)
    elsewhere = Agent(Metrics(shown).url)
    assert elsewhere.head("/metrics").content == b""
    for path in ("/", "/health", "/metrics/", "/messages/myorg"):
        problem(elsewhere.get(path), 404)
    refused = elsewhere.post("/metrics")
    problem(refused, 405)
    assert refused.headers["Allow"] == "GET, HEAD"


def test_a_listener_that_is_taken_stops_the_start(shown: Daemon) -> None:
    with new_home() as home:
        taken = Daemon(home, "--metrics", f"tcp:{shown.port}:interface=127.0.0.1")
        code, said = taken.ended()
        assert code == 1
        assert "smsd: cannot start: Couldn't listen on 127.0.0.1" in said
