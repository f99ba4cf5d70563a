"""Whatever ails Postgres: refused in words and in time, nothing lost, and served again by itself.

One Postgres and one gateway for all; figures are printed (``-s``) and in the report of pytest.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from callers import CALLS, WRITES, Caller, Witness, seconds_to_service
from canaries import canaries
from daemon import Daemon, bare_environment, new_home
from faults.postgres import Postgres
from faults.pulse import Pulse
from visitors import Org, until

pytestmark = pytest.mark.whole

Record = Callable[[str, object], None]


AWAY = ("the database is away", "the database is back")


@dataclass(frozen=True)
class Trouble:
    """One that lasts until Postgres is healed."""

    name: str
    begin: Callable[[Postgres], object]
    #: Calls that cannot be served meanwhile; the others of ``CALLS`` may be.
    refused: tuple[str, ...] = CALLS
    #: How the log tells of it, line by line.
    told: tuple[str, ...] = AWAY
    fills: bool = False


TROUBLES = [
    Trouble("down", lambda postgres: postgres.stop("fast")),
    Trouble("frozen", lambda postgres: postgres.freeze()),
    Trouble("out of connections", lambda postgres: postgres.use_up_connections()),
    Trouble(
        "read-only",
        lambda postgres: postgres.read_only(True),
        WRITES,
        ("the database refuses: it is read-only (SQLSTATE 25006)",),
    ),
    Trouble("locked", lambda postgres: postgres.hold_lock(), WRITES, ()),
    Trouble(
        "full disk",
        lambda postgres: postgres.fill_disk(),
        WRITES,
        ("the database refuses: its disk is full (SQLSTATE 53100)",),
        fills=True,
    ),
    Trouble("no room for WAL", lambda postgres: postgres.fill_disk("wal"), fills=True),
]


@pytest.fixture(scope="module")
def patient() -> Iterator[Postgres]:
    """The operator's Postgres, which is made to suffer."""
    with new_home() as home:
        server = Postgres(home)
        yield server
        server.close()


@pytest.fixture(scope="module")
def gateway(patient: Postgres) -> Iterator[Daemon]:
    with new_home() as home, Daemon(home, "--database", patient.conninfo_by_tcp) as daemon:
        daemon.excused = ["the database is away", "the database refuses"]
        yield daemon


@pytest.fixture(autouse=True)
def _healed(patient: Postgres) -> Iterator[None]:
    yield
    patient.heal()


@pytest.fixture
def orgs(gateway: Daemon) -> Iterator[list[Org]]:
    with ExitStack() as stack:
        found = [Org(gateway.url) for _ in range(3)]
        for org in found:
            stack.enter_context(org.agent)
        yield [org.claim() for org in found]


def all_ask(callers: list[Caller], trouble: Trouble) -> None:
    """Every call of every caller at once."""
    with ThreadPoolExecutor(len(callers) * len(CALLS)) as several:
        asked = [
            several.submit(caller.is_refused if call in trouble.refused else caller.ask, call)
            for caller in callers
            for call in CALLS
        ]
    for each in asked:
        each.result()


def told_of_database(gateway: Daemon, since: int) -> tuple[str, ...]:
    """The log's lines about it, up to the first semicolon."""
    lines = [event["msg"] for event in gateway.events()[since:]]
    return tuple(line.split(";")[0] for line in lines if line.startswith("the database"))


def test_a_database_that_may_forget_is_told_of_loudly_at_each_start_and_by_smsd_check(
    patient: Postgres,
) -> None:
    patient.ask("ALTER SYSTEM SET full_page_writes = off")
    patient.ask("SELECT pg_reload_conf()")
    told = "full_page_writes is off in this database: data can be ruined when the machine fails"
    try:
        with new_home() as home:
            with Daemon(home, "--database", patient.conninfo) as daemon:
                warnings = [event["msg"] for event in daemon.events() if event["level"] == "warn"]
            checked = subprocess.run(
                [sys.executable, "-m", "smsd", "check", "--database", patient.conninfo],
                env=bare_environment(),
                cwd=home,
                capture_output=True,
                text=True,
                check=True,
            )
    finally:
        patient.ask("ALTER SYSTEM RESET full_page_writes")
    assert [warning for warning in warnings if warning.startswith(told)] == warnings
    assert len(warnings) == 1
    assert told in checked.stdout


def tell(what: str, figures: dict[str, float], record: Record) -> None:
    """For whoever reads them: no test depends on how long something took."""
    for name, seconds in figures.items():
        record(name, round(seconds, 3))
    print(f"{what}:", ", ".join(f"{name} {value:.3f} s" for name, value in figures.items()))


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_what_cannot_be_served_is_refused_and_is_served_when_postgres_is_well(
    trouble: Trouble, patient: Postgres, gateway: Daemon, orgs: list[Org], record_property: Record
) -> None:
    if trouble.fills and patient.cannot_fill:
        pytest.skip(f"no disk was filled: {patient.cannot_fill}")
    said = len(gateway.events())
    callers = [Caller(org) for org in orgs]
    with orgs[0].phone({"slot": 0, "number": canaries.number()}) as phone:
        witness = Witness(orgs[0], phone)
        witness.before()
        with Pulse(gateway.port) as pulse:
            trouble.begin(patient)
            witness.during()
            all_ask(callers, trouble)
            patient.heal()
            service = seconds_to_service(orgs[0])
        assert pulse.refusals == []
        witness.after()
        witness.is_served()
        until(lambda: callers[0].ask("ready") == 200)
        assert [text for caller in callers for text in caller.lost()] == []
    assert told_of_database(gateway, said) == trouble.told
    figures = {
        "slowest refusal": max(caller.slowest for caller in callers),
        "longest stall": pulse.longest,
        "service after": service,
    }
    tell(trouble.name, figures, record_property)
