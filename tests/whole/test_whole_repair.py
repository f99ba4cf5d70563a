"""The operator's commands as processes of their own, beside a gateway that runs, or does not."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from console import DOCS, Shell, examples, hold
from daemon import PATIENCE, Daemon, bare_environment, deadline, new_home
from visitors import Org, until

from smsd.store.embedded import conninfo_of

pytestmark = pytest.mark.whole

PAGE = DOCS / "repair.md"
SMSD = (sys.executable, "-m", "smsd")
GONE, HERE = "+15550100009", "+15550100001"


def smsd(
    data: Path, *argv: str, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """A command, where nobody can be asked."""
    return subprocess.run(
        [*SMSD, *argv],
        cwd=data.parent,
        env=bare_environment(SMSD_DATA_DIR=str(data), **environ),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def done(data: Path, *argv: str, **more: str) -> Any:
    """What it answers to programs; it must have been done."""
    ran = smsd(data, *argv, "--json", **more)
    assert ran.returncode == 0, ran.stderr
    assert all(line.endswith(" ...") for line in ran.stderr.splitlines()), ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def own() -> Iterator[Daemon]:
    """A gateway whose operator these tests are."""
    with new_home() as home, Daemon(home) as daemon:
        yield daemon


@pytest.fixture
def tenant(own: Daemon) -> Iterator[Org]:
    org = Org(own.url)
    with org.agent:
        yield org.claim()


# -- the page --------------------------------------------------------------------------------


def scene(gateway: Daemon) -> Org:
    """What the page speaks of, but for the phone that stays: two SMS, a ticket whose phone went
    without a result, and one whose phone never came."""
    org = Org(gateway.url, "myorg", "my-secret-key-123")
    org.store(*({"address": "+15551112222", "body": b} for b in ("hi", "are you there?")))
    with org.phone({"slot": 0, "number": GONE}) as phone:
        org.send(to="+15553334444", body="on my way", sim=GONE)
        assert phone.hear()["type"] == "send_sms"
        phone.hear_all_before_pong()  # so that the receipt is on its way
    until(lambda: not org.sims()["online_devices"])
    org.send(to="+15553334444", body="nearly there", sim=GONE)
    return org


def test_every_command_of_the_page_answers_as_the_page_says() -> None:
    with new_home() as home, Daemon(home) as gateway:
        org = scene(gateway)
        with org.agent, org.phone({"slot": 0, "number": HERE}, device_id="handy"):
            hold(PAGE, Shell(home, bare_environment(SMSD_DATA_DIR=str(gateway.data))))


def test_the_pages_show_every_command() -> None:
    from smsd.repair.commands import COMMANDS

    shown = [one.command for page in (PAGE, DOCS / "backup.md") for one in examples(page)]
    for command in COMMANDS:
        assert any(line.startswith(f"smsd {command.name}") for line in shown), command.name


# -- how it ends -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "why"),
    [
        ("org show nobody", 3, "There is no org nobody"),
        ("ticket fail 99 --org {org} --yes", 3, "has no ticket 99"),
        ("org create {org}", 4, "already"),
        ("org delete {org}", 4, "Say --yes: nobody is here to be asked"),
        ("ticket requeue {ticket} --org {org} --yes", 4, "it waits already"),
        ("org rotate {org} --grace x --yes", 2, "--grace 'x'"),
        ("org limit nobody max_queued 5", 3, "There is no org nobody"),
        ("org limit {org} max_fun 5", 2, "max_stored, max_queued"),
        ("org limit {org} max_queued many", 2, "a whole number from 0 to 1000000, or none, or def"),
        ("org limit {org} to_prefixes +49,x", 2, "must be the beginning of a number"),
        ("org create a --json", 2, "The OrgId must have 3 to 64"),
        ("ticket fail {ticket}", 2, "Say whose ticket"),
        ("prune --yes", 2, "keep_messages"),
        ("org show", 2, "wanted ORG"),
        ("org fly", 2, "smsd org list"),
        ("tickets --limit 0", 2, "--limit '0'"),
        ("org list --database postgresql://127.0.0.1:9/x", 1, "refused"),
    ],
)
def test_what_cannot_be_done_says_why_and_ends_with_its_own_code(
    own: Daemon, tenant: Org, line: str, code: int, why: str
) -> None:
    ticket = tenant.ticket()
    ran = smsd(own.data, *line.format(org=tenant.id, ticket=ticket).split())
    assert (ran.returncode, ran.stdout) == (code, "")
    assert why in ran.stderr
    assert "Traceback" not in ran.stderr
    assert tenant.row(ticket)["status"] == "queued"


def asked(data: Path, answer: str, *argv: str) -> tuple[int, str]:
    """A command at a terminal, where somebody answers; its exit code and what was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SMSD, *argv],
        env=bare_environment(SMSD_DATA_DIR=str(data)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    with deadline(process):  # type: ignore[arg-type]
        while b"[y/N] " not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, answer.encode())
        code = process.wait()
    os.close(ours)
    return code, shown.decode()


@pytest.mark.parametrize(("answer", "code", "state"), [("n\n", 4, "open"), ("y\n", 0, "closed")])
def test_at_a_terminal_it_asks_and_does_what_is_answered(
    own: Daemon, tenant: Org, answer: str, code: int, state: str
) -> None:
    ended, shown = asked(own.data, answer, "org", "close", tenant.id)
    assert (ended, f"Close {tenant.id}?" in shown) == (code, True)
    assert done(own.data, "org", "show", tenant.id)["state"] == state


def test_a_private_postgres_that_is_stopped_runs_for_as_long_as_a_command() -> None:
    with new_home() as home:
        ran = smsd(home / "data", "org", "list")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "No database yet" in ran.stderr
        with Daemon(home) as gateway:
            org = Org(gateway.url)
            with org.agent:
                org.claim()
        assert [one["org_id"] for one in done(gateway.data, "org", "list")] == [org.id]
        assert not (gateway.data / "postgres" / "postmaster.pid").exists()
        with Daemon(home) as again:
            assert again.url


# -- what a gateway that runs takes notice of ----------------------------------------------------


def opens(org: Org, secret: str) -> bool:
    """Whether the secret is right for somebody who has never been here."""
    answer = org.agent.get(f"/sims/{org.id}", headers={"X-Secret-Key": secret})
    return answer.status_code == 200


def test_a_secret_comes_by_standard_input_and_phones_stay(own: Daemon, tenant: Org) -> None:
    new = "a-secret-of-the-operator"
    with tenant.phone() as phone:
        told = done(
            own.data, "org", "rotate", tenant.id, "--yes", "--secret-stdin", stdin=f"{new}\n"
        )
        assert told == {"org_id": tenant.id}
        until(lambda: opens(tenant, new) and not opens(tenant, tenant.secret))
        assert phone.hear_all_before_pong() == []


def test_an_org_that_was_made_opens_with_the_secret_that_was_shown(own: Daemon) -> None:
    free = Org(own.url)
    secret = done(own.data, "org", "create", free.id)["secret_key"]
    with free.agent:
        assert opens(free, secret)
        again = done(own.data, "org", "rotate", free.id, "--grace", "600", "--yes")["secret_key"]
        until(lambda: opens(free, again))
        assert opens(free, secret)


def test_a_locked_org_is_open_to_strangers_once_it_is_unlocked(own: Daemon, tenant: Org) -> None:
    stranger = tenant.at("127.9.9.1")
    with stranger.agent:
        for _ in range(10):
            assert not opens(stranger, "a-wrong-guess-of-it")
        assert not opens(stranger, tenant.secret)
        assert done(own.data, "org", "show", tenant.id)["state"] == "locked"
        assert done(own.data, "org", "unlock", tenant.id)["locked"] is False
        until(lambda: opens(stranger, tenant.secret))


def test_a_closed_org_loses_its_phones_and_keeps_its_tickets(own: Daemon, tenant: Org) -> None:
    with tenant.phone() as phone:
        done(own.data, "org", "close", tenant.id, "--yes")
        assert phone.end()[0] == 4401
    until(lambda: not opens(tenant, tenant.secret))
    tenant.secret = done(own.data, "org", "rotate", tenant.id, "--yes")["secret_key"]
    assert opens(tenant, tenant.secret)


def test_a_deleted_org_leaves_nothing_but_its_count(own: Daemon, tenant: Org) -> None:
    tenant.store(*(tenant.sms() for _ in range(1500)))
    with tenant.phone() as phone:
        told = done(own.data, "org", "delete", tenant.id, "--yes")
        assert phone.end()[0] == 4401
    assert told == {"org_id": tenant.id, "deleted": 1500}
    assert smsd(own.data, "org", "show", tenant.id).returncode == 3
    until(lambda: tenant.store(tenant.sms()).status_code == 200)  # anybody may claim it now
    assert [row["id"] for row in tenant.read()] == [1501]


def test_a_ticket_that_is_queued_again_goes_to_the_next_phone(own: Daemon, tenant: Org) -> None:
    with tenant.phone(device_id="gone") as phone:
        ticket = tenant.ticket(to="+15553334444")
        assert phone.hear()["id"] == ticket
    until(lambda: not tenant.sims()["online_devices"])
    with tenant.phone(device_id="here") as phone:
        assert phone.hear_all_before_pong() == []
        argv = ("ticket", "requeue", str(ticket), "--org", tenant.id)
        assert smsd(own.data, *argv).returncode == 4
        assert done(own.data, *argv, "--yes")["status"] == "queued"
        assert phone.hear()["id"] == ticket
        assert smsd(own.data, *argv, "--yes").returncode == 4  # a phone on line holds it
        phone.confirm(ticket)
        assert tenant.settled(ticket)["status"] == "sent"


def test_a_late_success_beats_the_operator(own: Daemon, tenant: Org) -> None:
    with tenant.phone() as phone:
        ticket = tenant.ticket()
        assert phone.hear()["id"] == ticket
        done(own.data, "ticket", "fail", str(ticket), "--org", tenant.id, "--yes")
        row = tenant.row(ticket)
        assert (row["status"], row["error"]) == ("failed", "failed_by_operator")
        phone.confirm(ticket)
        until(lambda: tenant.row(ticket)["status"] == "sent")


def test_an_org_forgets_a_person_by_itself_and_the_operator_does_for_all(
    own: Daemon, tenant: Org
) -> None:
    ours, others = "+15550104711", "+15550104712"
    tenant.store(*(tenant.sms(address=address) for address in (ours, others, ours)))
    waits = tenant.ticket(to=ours)
    kept = tenant.ticket(to="+15550104713")
    answer = tenant.agent.delete(f"/messages/{tenant.id}", params={"address": "1 (555) 010-4711"})
    assert answer.json() == {"ok": True, "org_id": tenant.id, "deleted": 3}
    assert waits not in [row["id"] for row in tenant.read()]
    assert done(own.data, "org", "forget", others, "--yes") == {"deleted": 1}
    assert [row["id"] for row in tenant.read()] == [kept]


def test_the_setting_says_what_is_old_and_export_shows_what_is_left(
    own: Daemon, tenant: Org
) -> None:
    tenant.store(*(tenant.sms() for _ in range(3)))
    with psycopg2.connect(conninfo_of(own.data)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE messages SET created_at = now() - interval '8 days'"
            " WHERE org_id = %s AND id <= 2",
            (tenant.id,),
        )
    connection.close()
    argv = ("prune", "--yes")
    assert done(own.data, *argv, SMSD_KEEP_MESSAGES="9") == {"deleted": 0}
    assert done(own.data, *argv, SMSD_KEEP_MESSAGES="7") == {"deleted": 2}
    ran = smsd(own.data, "org", "export", tenant.id)
    assert [json.loads(line) for line in ran.stdout.splitlines()] == tenant.read()
