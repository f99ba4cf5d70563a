"""A node of the gateway on a real database: the object graph, phones that keep notes, and a
database that can be watched and held up."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from smsd.domain.allowance import Allowance
from smsd.domain.credentials import Credentials
from smsd.domain.errors import Problem
from smsd.domain.pepper import Pepper
from smsd.domain.records import Draft, Result, Sim, Ticket
from smsd.gateway.accepted import Accepted
from smsd.gateway.allowances import UNLIMITED, Allowances
from smsd.gateway.archive import Archive
from smsd.gateway.attendance import Attendance
from smsd.gateway.bell import Bell
from smsd.gateway.confirmations import Confirmations
from smsd.gateway.consent import Consent
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller, Doorman, Newcomer
from smsd.gateway.feeding import Feeding
from smsd.gateway.hashing import Hashing
from smsd.gateway.hearing import Hearing
from smsd.gateway.inbox import Inbox
from smsd.gateway.keys import Keys
from smsd.gateway.outbox import Outbox
from smsd.gateway.paces import Paces
from smsd.gateway.pacing import Pacing
from smsd.gateway.patience import Patience
from smsd.gateway.postman import Postman
from smsd.gateway.questions import Questions
from smsd.gateway.quotas import Quotas
from smsd.gateway.recalls import Recalls
from smsd.gateway.results import Results
from smsd.gateway.resumption import Resumption, Rules
from smsd.gateway.roster import Roster
from smsd.gateway.schedule import Schedule
from smsd.gateway.spawn import Spawn
from smsd.gateway.streams import Streams
from smsd.gateway.upkeep import Upkeep
from smsd.gateway.visit import Identity, Limits, Visit
from smsd.outward.attempt import Attempt
from smsd.outward.gates import Gates
from smsd.store import events, orgs
from smsd.store.statements import Statement
from smsd.store.trouble import Unanswered

ORG, SECRET = "myorg", "my-secret-key-123"
PEPPER = Pepper(b"a pepper of the tests")
#: What wrong secrets of the tests begin with.
WRONG = "a-wrong-guess-"
HOME, STRANGER = "192.0.2.1", "203.0.113.9"
EPOCH = 1_700_000_000.0
LIMITS, PLAIN = Limits(), Identity()
#: What must come is waited for so long, in real seconds.
DEADLINE = 10


def middle() -> float:
    """Chance that is always in the middle."""
    return 0.5


async def soon(awaitable: Awaitable[Any]) -> Any:
    """What this gives; a test that waits in vain fails."""

    async def whole() -> Any:
        return await awaitable

    waiting = Deferred.fromCoroutine(whole())
    return await waiting.addTimeout(DEADLINE, reactor)


async def together(*coroutines: Any) -> list[Any]:
    """What these give, run at once; an exception takes its result's place."""

    async def caught(coroutine: Any) -> Any:
        try:
            return await coroutine
        except Exception as error:
            return error

    return await soon(gatherResults([Deferred.fromCoroutine(caught(c)) for c in coroutines]))


async def sql(database: Any, text: str, **parameters: object) -> list[Any]:
    """The rows of a statement of the test's own."""
    return await database.run(Statement("test", text), **parameters)


async def made_org(database: Any, org_id: str = ORG, secret: str = SECRET) -> Caller:
    """An org, without the cost of hashing its secret."""
    org = orgs.NewOrg(org_id, "no hash", PEPPER.seal(org_id, secret), PEPPER.id, "nowhere")
    assert await database.transaction("make org", lambda tx: orgs.create(tx, org))
    return Caller(org_id)


async def tickets(database: Any, org_id: str = ORG) -> dict[int, str]:
    """The org's tickets and their status."""
    return dict(
        await sql(
            database,
            "SELECT id, status FROM messages WHERE org_id = %(org)s AND direction = 'out'"
            " ORDER BY id",
            org=org_id,
        )
    )


@dataclass
class Gate:
    """Where a statement waits. ``reached`` fires when one has come."""

    reached: Deferred[None] = field(default_factory=Deferred)
    opened: Deferred[None] = field(default_factory=Deferred)
    most: int | None = None
    waiting: int = 0

    def open(self) -> None:
        opened, self.opened = self.opened, Deferred()
        opened.callback(None)


class Watched:
    """A database that notes what is run, and holds statements up where a test wants to.

    Works on statements and, by their names, on whole transactions.
    """

    def __init__(self, database: Any) -> None:
        self._database = database
        self.run_names: Counter[str] = Counter()
        self.under_way = 0
        self._before: dict[str, Gate] = {}
        self._after: dict[str, Gate] = {}
        self._failing: dict[str, list[Exception]] = {}
        self._lost: Counter[str] = Counter()

    async def run(self, statement: Statement, **parameters: object) -> list[Any]:
        return await self._watch(
            statement.name, lambda: self._database.run(statement, **parameters)
        )

    async def transaction(self, name: str, body: Any, **options: Any) -> Any:
        return await self._watch(name, lambda: self._database.transaction(name, body, **options))

    def fail(self, name: str, error: Exception) -> None:
        """The next statement of this name fails, and does nothing."""
        self._failing.setdefault(name, []).append(error)

    def lose(self, name: str) -> None:
        """The next statement of this name is carried out, and its answer is lost."""
        self._lost[name] += 1

    @contextmanager
    def held(self, name: str, most: int | None = None) -> Iterator[Gate]:
        """Statements of this name, or the next ``most`` of them, wait before they are run, until
        the end of the block."""
        with self._gated(self._before, name, most) as gate:
            yield gate

    @contextmanager
    def answers_held(self, name: str, most: int | None = None) -> Iterator[Gate]:
        """They are run, but their answers wait until the end of the block."""
        with self._gated(self._after, name, most) as gate:
            yield gate

    @contextmanager
    def _gated(self, gates: dict[str, Gate], name: str, most: int | None) -> Iterator[Gate]:
        gate = gates[name] = Gate(most=most)
        try:
            yield gate
        finally:
            del gates[name]
            gate.open()

    async def _watch(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        self.run_names[name] += 1
        self.under_way += 1
        try:
            return await self._watched(name, work)
        finally:
            self.under_way -= 1

    async def _watched(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        await self._wait(self._before.get(name))
        if self._failing.get(name):
            raise self._failing[name].pop(0)
        answer = await work()
        await self._wait(self._after.get(name))
        if self._lost[name]:
            self._lost[name] -= 1
            raise Unanswered()
        return answer

    async def _wait(self, gate: Gate | None) -> None:
        if gate is None or gate.waiting == gate.most:
            return
        gate.waiting += 1
        turn: Deferred[None] = Deferred()
        gate.opened.addCallback(lambda _: turn.callback(None))
        if gate.waiting == 1:
            reactor.callLater(0, gate.reached.callback, None)
        await turn


@dataclass
class Turns:
    """A reactor whose time is the test's, and which turns by itself."""

    clock: Clock
    callLater: Any = reactor.callLater  # type: ignore[attr-defined]

    def seconds(self) -> float:
        return self.clock.seconds()


class RecordingPhone:
    """A phone that keeps notes in ``events`` of what the gateway does to it."""

    def __init__(self, *, writable: bool = True, pushed: Any = None) -> None:
        self.events: list[tuple[str, Any]] = []
        self.writable = writable
        self.visit: Any = None
        self._pushed = pushed
        self.held: list[int] = []

    def push(self, tickets: Sequence[Ticket], mark: int) -> None:
        assert self.writable, "nothing is written while the transport is paused"
        self.events.append(("push", [ticket.id for ticket in tickets]))
        self.held += [ticket.id for ticket in tickets]
        self.mark = mark
        if self._pushed is not None:
            self._pushed(tickets)

    def ask_back(self, ticket_id: int) -> None:
        self.events.append(("ask back", ticket_id))

    def close(self, problem: Problem) -> None:
        self.events.append(("close", problem.slug))

    @property
    def pushed(self) -> list[int]:
        """The ids that were pushed, in their order."""
        return [id_ for what, ids in self.events if what == "push" for id_ in ids]

    @property
    def closed(self) -> list[str]:
        return [slug for what, slug in self.events if what == "close"]


class RecordingCourier:
    """Posts nothing, and notes what it was given; answers as the test says."""

    allow = (ip_network("127.0.0.0/8"),)

    def __init__(self) -> None:
        self.posts: list[tuple[str, str, Any, list[str]]] = []
        self.attempt = Attempt(status=204, ms=3)
        self.wait: Deferred[None] | None = None
        #: What URLs begin with whose endpoints never answer.
        self.dead = "https://dead."

    async def deliver(
        self, url: str, event_id: str, body: bytes, secrets: Sequence[str]
    ) -> Attempt:
        self.posts.append((url, event_id, json.loads(body), list(secrets)))
        if self.wait is not None:
            await self.wait
        if url.startswith(self.dead):
            await Deferred()
        return self.attempt


class Node:
    """All of a node's gateway that tests touch."""

    def __init__(
        self,
        database: Any,
        clock: Clock,
        *,
        name: str = "node-1",
        limits: Limits = LIMITS,
        pepper: Pepper = PEPPER,
        hashing: Hashing | None = None,
        allowance: Allowance = UNLIMITED,
        **doorman: Any,
    ) -> None:
        self.database = Watched(database)
        watched: Any = self.database
        self.clock = clock
        self.spawn = Spawn()
        self.patience = Patience(clock, middle)
        self.hashing = hashing or Hashing(reactor, middle)
        self.allowances = Allowances(allowance)
        self.quotas = Quotas(watched, self.allowances, clock.seconds)
        self.doorman = Doorman(
            watched,
            pepper,
            self.hashing,
            reactor=Turns(clock),
            allowances=self.allowances,
            **doorman,
        )
        self.roster = Roster(clock.seconds)
        self.resumption = Resumption(watched, Rules(), self.patience)
        self.bell = Bell(clock, partial(events.bounds, watched))
        self.pacing = Pacing(watched, self.allowances, self.roster, clock)
        self.feeding = Feeding(
            watched,
            self.roster,
            self.resumption,
            self.spawn,
            self.patience,
            self.bell,
            self.pacing,
        )
        self.dispatch = Dispatch(
            watched,
            self.roster,
            self.resumption,
            self.spawn,
            self.patience,
            self.bell,
            self.pacing,
            self.feeding,
        )
        self.paces = Paces(watched, self.allowances, self.feeding, self.pacing)
        self.consent = Consent(watched, self.allowances)
        self.confirmations = Confirmations(
            watched, self.allowances, self.feeding, self.bell, self.spawn
        )
        self.attendance = Attendance(
            watched,
            self.roster,
            self.dispatch,
            self.feeding,
            self.spawn,
            self.patience,
            self.bell,
            node_id=name,
            clock=self.now,
            new_id=lambda: str(uuid.uuid4()),
            limits=limits,
        )
        self.keys = Keys(watched, self.doorman, self.roster, self.attendance)
        self.inbox = Inbox(
            watched,
            self.doorman,
            self.patience,
            self.quotas,
            self.bell,
            stored=self.confirmations.heard,
        )
        self.results = Results(
            watched, self.roster, self.dispatch, self.feeding, self.patience, self.bell
        )
        self.recalls = Recalls(clock, watched, self.roster, self.results, self.patience, self.bell)
        self.outbox = Outbox(
            watched,
            self.roster,
            self.dispatch,
            self.spawn,
            self.patience,
            self.quotas,
            self.bell,
            self.pacing,
            time_of_day=time.time,
        )
        self.archive = Archive(watched, self.bell, self.recalls)
        self.hearing = Hearing(clock, watched, self.bell, 2)
        self.questions = Questions(watched, self.outbox, self.hearing)
        self.streams = Streams(
            clock,
            watched,
            self.bell,
            keep=7 * 86_400.0,
            at_once=2,
            chance=middle,
            spell=lambda event: f"{event.id} {event.type}".encode(),
            sign_of_life=lambda cursor: b"alive at %d" % cursor,
        )
        self.courier = RecordingCourier()
        self.gates = Gates()
        self.postman = Postman(
            clock,
            watched,
            self.courier,  # type: ignore[arg-type]
            self.gates,
            self.spawn,
            self.bell,
            node_id=name,
            keep=7 * 86_400.0,
            now=self.now,
            chance=middle,
        )
        self.upkeep = Upkeep(
            reactor=clock,
            database=watched,
            doorman=self.doorman,
            roster=self.roster,
            dispatch=self.dispatch,
            feeding=self.feeding,
            attendance=self.attendance,
            keys=self.keys,
            spawn=self.spawn,
            node_id=name,
            confirm_timeout=600,
            unconfirmed="fail",
            max_attempts=5,
            allowances=self.allowances,
            quotas=self.quotas,
            bell=self.bell,
            schedule=Schedule(watched, self.feeding, self.bell),
            streams=self.streams,
            postman=self.postman,
            confirmations=self.confirmations,
            keep_events=7,
        )

    def now(self) -> float:
        """The time of day."""
        return EPOCH + self.clock.seconds()

    # -- the doorman ---------------------------------------------------------------------------

    async def ask(
        self, secret: str | None = SECRET, address: str = HOME, org_id: str = ORG, **claim: Any
    ) -> Caller | Newcomer:
        """Ask the doorman."""
        return await self.doorman.recognise(Credentials(org_id, secret), address, **claim)

    async def answer(self, *args: Any, **claim: Any) -> str:
        """The doorman's answer in a word."""
        try:
            return type(await self.ask(*args, **claim)).__name__
        except Problem as problem:
            return type(problem).__name__

    # -- phones and agents ---------------------------------------------------------------------

    async def settled(self) -> None:
        """When everything that was started has come to its end."""
        await soon(self.spawn.idle())

    async def come(
        self,
        phone: RecordingPhone | None = None,
        *sims: Sim,
        org_id: str = ORG,
        identity: Identity = PLAIN,
        greeted: bool = True,
    ) -> RecordingPhone:
        """A phone comes on line, is greeted and reports its SIMs."""
        phone = phone or RecordingPhone()
        phone.visit = await soon(self.attendance.begin(Caller(org_id), identity, phone))
        if greeted:
            self.attendance.serve(phone.visit)
        if sims:
            await soon(self.attendance.report(phone.visit, sims))
        await self.settled()
        return phone

    async def leave(self, phone: RecordingPhone) -> None:
        """The phone goes, and what follows from it is done."""
        self.attendance.end(phone.visit, "a test")
        await self.settled()

    async def send(self, *sims: str | int | None, org_id: str = ORG) -> Accepted:
        """An agent sends as many SMS as wishes are named."""
        drafts = [Draft(to="+15550001111", body="hi", sim=sim) for sim in sims or (None,)]
        return await soon(self.outbox.accept(Caller(org_id), drafts))

    async def result(
        self, visit: Visit, id_: int, success: bool = True, *, org_id: str = ORG, **more: Any
    ) -> str:
        """The phone says what became of a ticket."""
        return await soon(
            self.results.take(visit, Result(org_id=org_id, id=id_, success=success, **more))
        )
