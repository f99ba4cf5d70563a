"""The life of the process: an orderly end, a violent one, a second start, and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from canaries import canaries
from daemon import RUN, TWISTD, Daemon, bare_environment, new_home, processes_on, wait_for_end
from handset import Handset
from visitors import Agent, Org, problem, until

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def number_of_sms(org: Org) -> int:
    count = since = 0
    while page := org.read(direction="in", since_id=since, limit=1000):
        count, since = count + len(page), page[-1]["id"]
    return count


def stored_until_the_end(org: Org, end: Callable[[], object]) -> int:
    """How many SMS were acknowledged to three agents while the gateway came to its end."""
    acknowledged: list[int] = []
    flowing = threading.Barrier(4)

    def store_on() -> None:
        with Agent(org.url) as agent:
            agent.headers["X-Secret-Key"] = org.secret
            for n in range(100_000):
                body = {"org_id": org.id, "messages": [org.sms(), org.sms()]}
                try:
                    answer = agent.post("/webhook", json=body)
                except OSError:  # requests' own are of this kind
                    return
                if answer.status_code != 200:
                    assert answer.status_code == 503
                    assert answer.headers["Retry-After"]
                    return
                acknowledged.append(answer.json()["stored"])
                if n == 10:
                    flowing.wait(30)

    threads = [threading.Thread(target=store_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    flowing.wait(30)
    end()
    for thread in threads:
        thread.join()
    return sum(acknowledged)


# -- an orderly end --


def test_a_shutdown_takes_results_in_flight_says_1001_and_loses_nothing(home: Path) -> None:
    with Daemon(home) as gateway:
        org, began = Org(gateway.url).claim(), time.monotonic()
        with org.agent, org.phone() as phone, org.phone() as idle:
            tickets = [org.ticket() for _ in range(5)]
            assert [phone.hear()["id"] for _ in tickets] == tickets
            waiting = org.ticket(sim="9")

            def shut_down() -> None:
                nonlocal began
                began = time.monotonic()
                gateway.process.send_signal(signal.SIGTERM)
                for ticket in tickets:
                    phone.confirm(ticket, sent_at=1700000000000)

            acknowledged = stored_until_the_end(org, shut_down)
            assert phone.end()[0] == 1001
            assert idle.end()[0] == 1001
        assert gateway.process.wait(10) == 0
        assert time.monotonic() - began < 10

    with Daemon(home) as gateway:
        again = Org(gateway.url, org.id, org.secret)
        with again.agent, again.phone() as phone:
            assert {again.row(ticket)["status"] for ticket in tickets} == {"sent"}
            assert again.row(waiting)["status"] == "queued"
            assert number_of_sms(again) >= acknowledged > 0
            # And an end that a phone makes the gateway wait for: five seconds and no more.
            ticket = again.ticket()
            assert phone.hear()["id"] == ticket
            began = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            assert phone.end()[0] == 1001
            assert 4 < time.monotonic() - began < 9
        assert gateway.process.wait(10) == 0


# -- a violent end --


def test_a_killed_gateway_leaves_no_postgres_and_the_next_has_all_the_data(home: Path) -> None:
    with Daemon(home) as gateway:
        org = Org(gateway.url).claim()
        port, postgres = gateway.port, gateway.postgres()
        waiting = org.ticket(sim="7")
        with org.agent, org.phone({"slot": 0}):
            acknowledged = stored_until_the_end(org, gateway.kill)
        wait_for_end(postgres)

    with Daemon(home, port=port) as gateway:
        again = Org(gateway.url, org.id, org.secret)
        with again.agent:
            told = again.sims()  # phones of the earlier life are not on line
            assert (told["online_devices"], told["live_sims"]) == (0, [])
            assert [sim["slot"] for sim in told["known_sims"]] == [0]
            with again.phone({"slot": 7}) as phone:
                assert number_of_sms(again) >= acknowledged > 0
                assert phone.hear()["id"] == waiting
                phone.confirm(waiting)
                assert again.settled(waiting)["status"] == "sent"
                newer = again.ticket()
                assert newer > again.read(order="desc", limit=1, direction="in")[0]["id"]
                assert phone.hear()["id"] == newer


def test_a_phone_comes_back_by_itself_and_gets_what_waits(home: Path) -> None:
    with Daemon(home) as gateway:
        org = Org(gateway.url).claim()
        port, number = gateway.port, canaries.number()
        phone = Handset(gateway.socket_url, org.id, org.secret, "--number", number)
        with phone, org.agent:
            until(lambda: org.sims()["live_sims"])
            gateway.kill()
            with Daemon(home, port=port):  # where the phone looks for it
                ticket = org.ticket(sim=number)
                assert org.settled(ticket)["status"] == "sent"


# -- a database that is away --


def test_while_the_database_is_away_nothing_is_acknowledged_and_then_all_is_well(
    home: Path,
) -> None:
    with Daemon(home) as gateway:
        gateway.excused.append("the database is away")
        org = Org(gateway.url).claim()
        with org.agent as agent, org.phone() as phone:
            frozen = [pid for pid in processes_on(home) if pid != gateway.process.pid]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            try:
                phone.say(type="inbound", message={"address": "1234", "body": canaries.text()})
                refused = problem(agent.get("/ready"), 503)
                assert "the database does not answer" in refused["detail"]
                assert refused["parts"]["listeners"] == "ok"
                for answer in (
                    org.store(org.sms()),
                    org.post(to=canaries.number(), body=canaries.text()),
                    agent.get(f"/messages/{org.id}"),
                ):
                    assert problem(answer, 503)
                    assert int(answer.headers["Retry-After"]) > 0
                assert agent.get("/health").json() == {"status": "ok"}
                assert phone.end()[0] == 4503  # what was not answered is to be sent again
            finally:
                for pid in frozen:
                    os.kill(pid, signal.SIGCONT)
            until(lambda: agent.get("/ready").status_code == 200)
            assert org.store(org.sms()).json()["stored"] == 1


# -- starts that are refused --


def words_of(daemon: Daemon) -> list[str]:
    """What a start says beside its log."""
    return [line for line in daemon.log.read_text().splitlines() if not line.startswith("{")]


@pytest.mark.parametrize("command", [RUN, TWISTD])
def test_a_second_gateway_on_the_same_data_is_refused_in_one_line(
    gateway: Daemon, command: tuple[str, ...]
) -> None:
    second = Daemon(gateway.home, command=command)
    code, said = second.ended()
    assert code == 1
    assert words_of(second) == [
        f"smsd: cannot start: Another process uses {gateway.data}: is smsd running already?"
        " Stop it, or choose another data directory."
    ]
    assert "Traceback" not in said
    with Agent(gateway.url) as agent:
        assert agent.get("/ready").status_code == 200


def test_a_port_in_use_is_told_in_one_line(gateway: Daemon, home: Path) -> None:
    daemon = Daemon(home, port=gateway.port)
    code, said = daemon.ended()
    assert code == 1
    (line,) = words_of(daemon)
    assert line.startswith("smsd: cannot start: ")
    assert str(gateway.port) in line
    assert "Traceback" not in said


def test_a_password_on_the_command_line_is_refused_and_not_repeated(home: Path) -> None:
    password = canaries.secret()
    daemon = Daemon(home, "--database", f"postgresql://me:{password}@127.0.0.1/sms")
    code, said = daemon.ended()
    assert code == 2
    assert "--database" in said
    assert "SMSD_DATABASE" in said
    assert password not in said


def test_a_database_that_is_not_there_is_told_in_one_line(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    password = canaries.secret()
    url = {"SMSD_DATABASE": f"postgresql://me:{password}@127.0.0.1:{port}/sms"}
    daemon = Daemon(home, environ=url)
    code, said = daemon.ended()
    assert code == 1
    (line,) = words_of(daemon)
    assert line.startswith(
        "smsd: cannot start: the database cannot be reached: Connection refused. "
    )
    assert "Traceback" not in said
    assert password not in said


# -- two of them --


def test_two_clones_run_beside_each_other_one_of_them_under_twistd(
    gateway: Daemon, home: Path
) -> None:
    with Daemon(home, command=TWISTD) as clone:
        for daemon in (gateway, clone):
            org = Org(daemon.url, "same-name").claim()
            with org.agent, org.phone() as phone:
                text = canaries.text()
                org.store(org.sms(text))
                assert [row["body"] for row in org.read()] == [text]
                ticket = org.ticket()
                assert phone.hear()["id"] == ticket
                phone.confirm(ticket)
                assert org.settled(ticket)["status"] == "sent"


def test_check_beside_a_running_gateway_asks_its_postgres(home: Path) -> None:
    with Daemon(home):
        run = subprocess.run(
            [sys.executable, "-m", "smsd", "check", "--data-dir", str(home / "data")],
            env=bare_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "The database answers: PostgreSQL " in run.stdout
    assert "It is at version" not in run.stdout
