"""The REST face over a wire in memory: real site, real routes, a gateway that keeps notes."""

from __future__ import annotations

import http.client
import io
import json as json_
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from msgspec import Struct
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from smsd.domain.call_key import CallKey
from smsd.domain.credentials import Credentials
from smsd.domain.errors import Invalid, StillAsking, Unauthorised, UnknownKey, WrongKey
from smsd.domain.happenings import EventQuery
from smsd.domain.keys import Key, Scope
from smsd.domain.numbers import address_key
from smsd.domain.opt_outs import OptOuts
from smsd.domain.pacing import Pace
from smsd.domain.query import MessageQuery
from smsd.domain.records import Draft, Inbound, Wish
from smsd.gateway.accepted import Accepted, AcceptedTicket
from smsd.gateway.consent import Page
from smsd.gateway.doorman import Caller, Newcomer
from smsd.gateway.hooks import MadeHook
from smsd.gateway.keys import MadeKey
from smsd.gateway.outlook import Forecast, Outlook, PhoneAndSim
from smsd.gateway.questions import Answered, Question
from smsd.gateway.rotation import Keeper
from smsd.gateway.stream import Place, Stream
from smsd.outward.attempt import Attempt
from smsd.rest.api import Api
from smsd.rest.services import Services
from smsd.rest.sims import Sims
from smsd.rest.site import Site
from smsd.store.events import Wanted
from smsd.store.hooks import Delivery, HookChange, HookSeen, NewHook
from smsd.store.keys import KeySeen, NewKey
from smsd.store.opt_outs import OptedOut
from smsd.store.tickets import Moment, TicketSeen

ORG, SECRET = "myorg", "my-secret-key-123"
OTHER_ORG, OTHER_SECRET = "other", "other-secret-key-9"

SEEN = TicketSeen(
    id=5,
    to="+1555",
    body="hi",
    status="sent",
    sim_slot=0,
    sim_number=None,
    device_id="pixel",
    attempts=1,
    error=None,
    error_detail=None,
    history=[Moment("accepted", "2026-01-31T12:00:00+00:00")],
)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
AT_NOON = "2026-01-31T12:00:00+00:00"
HOOK = HookSeen(
    id="7c1e0b94a2f8",
    url="https://app.example.com/",
    types=["message.received"],
    direction=None,
    address=None,
    sim=None,
    enabled=True,
    disabled_why=None,
    disabled_at=None,
    failing_since=AT_NOON,
    tries=2,
    next_attempt_at=AT_NOON,
    cursor=41,
    behind=3,
    old_secret_until=None,
    created_at=AT_NOON,
)
DELIVERY = Delivery(7, 42, 2, AT_NOON, None, "time_out", 15000, "")
TAKEN = Outlook(taken_by=PhoneAndSim(online=True, device_id="pixel", sim_slot=0))
WAITS = Outlook(waiting_for=PhoneAndSim(online=False, sim_number="+1555"))


@dataclass
class Notes:
    """A gateway that does nothing but note what it was asked. ``answer`` may be replaced."""

    secrets: dict[str, str] = field(default_factory=dict)
    attempts: list[tuple[Credentials, str, bool, str | None]] = field(default_factory=list)
    stored: list[tuple[Caller | Newcomer, Sequence[Inbound]]] = field(default_factory=list)
    accepted: list[tuple[Caller, Sequence[Draft]]] = field(default_factory=list)
    named: list[CallKey] = field(default_factory=list)
    read: list[tuple[Caller, MessageQuery]] = field(default_factory=list)
    forgotten: list[tuple[Caller, str]] = field(default_factory=list)
    rotated: list[tuple[Keeper, str, int]] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    opened: list[tuple[str | None, str, Any]] = field(default_factory=list)
    made: list[tuple[Keeper, NewKey]] = field(default_factory=list)
    deleted: list[tuple[Caller, str]] = field(default_factory=list)
    waited: list[MessageQuery] = field(default_factory=list)
    listened: list[float] = field(default_factory=list)
    heard: Deferred[bytes] | None = None
    streams: list[tuple[Any, Any]] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)
    no_place: Exception | None = None
    upgraded: list[tuple[Any, Any, str | None, bool]] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    before: Callable[[], Any] | None = None

    async def _pass(self) -> None:
        if self.before is not None:
            waiting = self.before()
            if waiting is not None:
                await waiting

    async def recognise(
        self,
        credentials: Credentials,
        address: str,
        *,
        claim: bool = False,
        claim_token: str | None = None,
    ) -> Caller | Newcomer:
        self.attempts.append((credentials, address, claim, claim_token))
        await self._pass()
        if credentials.secret is None or credentials.org_id is None:
            raise Unauthorised
        if credentials.org_id not in self.secrets and claim:
            if faults := credentials.faults():
                raise Invalid(errors=faults)
            return Newcomer(credentials, address)
        if self.secrets.get(credentials.org_id) != credentials.secret:
            raise Unauthorised
        return Caller(credentials.org_id)

    async def open(self, org_id: str | None, key: str, scopes: tuple[Scope, ...] | None) -> Caller:
        self.opened.append((org_id, key, scopes))
        await self._pass()
        found = self.keys.get(key)
        if found is None or found.org_id != org_id:
            raise WrongKey
        found.require(scopes)
        return Caller(found.org_id, found)

    async def make(self, keeper: Keeper, new: NewKey) -> MadeKey:
        self.made.append((keeper, new))
        return MadeKey("smsd_" + "k" * 43, seen())

    async def all(self, caller: Caller) -> list[KeySeen]:
        return [seen()] if caller.org_id == ORG else []

    async def one(self, caller: Caller, key_id: str) -> KeySeen:
        if key_id == "unknown":
            raise UnknownKey
        return seen()

    async def delete(self, caller: Caller, key_id: str) -> None:
        await self.one(caller, key_id)
        self.deleted.append((caller, key_id))

    async def keeper(self, credentials: Credentials, address: str) -> Keeper:
        caller = await self.recognise(credentials, address)
        return Keeper(caller.org_id, b"", address)

    async def rotate(self, keeper: Keeper, secret: str, grace: int) -> datetime | None:
        self.rotated.append((keeper, secret, grace))
        return datetime(2026, 1, 31, 13, tzinfo=UTC) if grace else None

    async def store(self, who: Caller | Newcomer, sms: Sequence[Inbound]) -> int:
        self.stored.append((who, sms))
        return len(sms)

    async def accept(
        self, caller: Caller, drafts: Sequence[Draft], *, lone: bool = False, ahead: bool = False
    ) -> Accepted:
        self.accepted.append((caller, drafts))
        outlook = TAKEN if ahead else None
        return Accepted(
            True,
            [AcceptedTicket(at, one.to, "sending", outlook) for at, one in enumerate(drafts, 5)],
        )

    async def accept_once(
        self, caller: Caller, drafts: Sequence[Draft], key: CallKey, **how: bool
    ) -> Accepted:
        if key not in self.named:
            self.named.append(key)
            return await self.accept(caller, drafts, **how)
        return Accepted(
            True,
            [AcceptedTicket(at, one.to, "sent") for at, one in enumerate(drafts, 5)],
            replayed=True,
        )

    async def forecast(
        self, caller: Caller, drafts: Sequence[Draft], *, lone: bool = False
    ) -> Forecast:
        return Forecast(False, [WAITS for _ in drafts])

    async def ticket(self, caller: Caller, id_: int) -> TicketSeen | None:
        return SEEN if id_ == SEEN.id else None

    async def cancel(self, caller: Caller, id_: int) -> TicketSeen | None:
        return await self.ticket(caller, id_)

    async def messages(self, caller: Caller, query: MessageQuery) -> bytes:
        self.read.append((caller, query))
        return b'{"org_id":"%b","count":0,"messages":[]}' % caller.org_id.encode()

    async def sims(self, caller: Caller) -> Struct:
        return Sims(online_devices=0, live_sims=[], known_sims=[])

    async def forget(self, caller: Caller, address: str) -> int:
        self.forgotten.append((caller, address))
        return len(self.forgotten)

    async def readiness(self) -> dict[str, str]:
        return {"listeners": "ok", **{f"part {at}": why for at, why in enumerate(self.lacking)}}

    def upgrade(
        self, request: Any, who: Any, *, device_id: str | None, ledger: bool
    ) -> Deferred[None]:
        """Takes its time: the test hands the request over."""
        self.upgraded.append((request, who, device_id, ledger))
        return Deferred()

    def services(self) -> Services:
        gateway: Any = self
        hearing: Any = Patient(self)
        questions: Any = Curious(self)
        streams: Any = Streaming(self)
        return Services(
            doorman=gateway,
            inbox=gateway,
            outbox=gateway,
            archive=gateway,
            hearing=hearing,
            questions=questions,
            streams=streams,
            rotation=gateway,
            keys=gateway,
            hooks=Hooked(),  # type: ignore[arg-type]
            paces=Slow(),  # type: ignore[arg-type]
            consent=Quiet(),  # type: ignore[arg-type]
            sims=self.sims,
            readiness=self.readiness,
            upgrade=lambda *who, **options: self.upgrade(*who, **options),
        )


class Quiet:
    """A list of opt-outs, which keeps what it is told."""

    def __init__(self) -> None:
        self.kept: OptOuts | None = OptOuts(scope="sim", help="Ask at the desk.")
        self.listed = [OptedOut("1555", "+1555", "1666", "2026-01-31T12:00:00+00:00", "STOP")]

    async def how(self, caller: Caller) -> OptOuts | None:
        return self.kept

    async def set_how(self, caller: Caller, how: OptOuts | None) -> OptOuts | None:
        self.kept = how
        return how

    async def page(self, caller: Caller, *, after: tuple[str, str], most: int) -> Page:
        behind = [one for one in self.listed if (one.key, one.sim) > after]
        return Page(behind[:most], len(behind) > most)

    async def of(self, caller: Caller, number: str) -> list[OptedOut]:
        return [one for one in self.listed if one.key == address_key(number)]

    async def add(self, caller: Caller, number: str) -> list[OptedOut]:
        self.listed.append(OptedOut(address_key(number), number, "", "2026-02-01", None))
        return await self.of(caller, number)

    async def lift(self, caller: Caller, number: str) -> bool:
        found = await self.of(caller, number)
        self.listed = [one for one in self.listed if one not in found]
        return bool(found)


class Slow:
    """Paces of an org, which keeps what it is told."""

    def __init__(self) -> None:
        self.kept = {"*": Pace(max_per_minute=10)}

    async def all(self, caller: Caller) -> dict[str, Pace]:
        return self.kept

    async def set(self, caller: Caller, wish: Wish, pace: Pace) -> dict[str, Pace]:
        self.kept[wish.key] = pace
        return self.kept


class Hooked:
    """Hooks of an org, which note what they are asked; there is one hook, whatever its id."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.attempt = Attempt(status=204, ms=38)
        self.no: Exception | None = None

    def _note(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.no is not None:
            raise self.no

    async def make(self, caller: Caller, new: NewHook) -> MadeHook:
        self._note("make", caller, new)
        return MadeHook("whsec_new", HOOK)

    async def all(self, caller: Caller) -> list[HookSeen]:
        return [HOOK]

    async def one(self, caller: Caller, hook_id: str) -> HookSeen:
        self._note("one", caller, hook_id)
        return HOOK

    async def change(self, caller: Caller, hook_id: str, to: HookChange) -> HookSeen:
        self._note("change", caller, hook_id, to)
        return HOOK

    async def rotate(self, caller: Caller, hook_id: str, overlap: int) -> MadeHook:
        self._note("rotate", caller, hook_id, overlap)
        return MadeHook("whsec_next", HOOK)

    async def delete(self, caller: Caller, hook_id: str) -> None:
        self._note("delete", caller, hook_id)

    async def deliveries(
        self, caller: Caller, hook_id: str, *, before_id: int | None, limit: int
    ) -> list[Delivery]:
        self._note("deliveries", caller, hook_id, before_id, limit)
        return [DELIVERY]

    async def replay(self, caller: Caller, hook_id: str, since: int) -> HookSeen:
        self._note("replay", caller, hook_id, since)
        return HOOK

    async def test(self, caller: Caller, hook_id: str) -> Attempt:
        self._note("test", caller, hook_id)
        return self.attempt


@dataclass
class Patient:
    """Whoever waits hears what the notes have for it, and until there is something nothing."""

    notes: Notes

    async def messages(self, caller: Caller, query: MessageQuery) -> bytes:
        self.notes.waited.append(query)
        return (
            await self.notes.heard if self.notes.heard else await self.notes.messages(caller, query)
        )


@dataclass
class Curious:
    """Asks nobody: there is a reply once the notes have one, or none at once."""

    notes: Notes
    asking: bool = False

    @contextmanager
    def place(self, caller: Caller, key: CallKey | None) -> Iterator[None]:
        if self.asking:
            raise StillAsking(retry_after=5)
        self.asking = True
        yield
        self.asking = False

    async def send(self, caller: Caller, draft: Draft, key: CallKey | None) -> Question:
        if key is None:
            await self.notes.accept(caller, [draft])
            return Question(SEEN.id, False)
        return Question(SEEN.id, (await self.notes.accept_once(caller, [draft], key)).replayed)

    async def hear(self, caller: Caller, question: Question, seconds: float) -> Answered:
        self.notes.listened.append(seconds)
        return Answered(SEEN, await self.notes.heard if self.notes.heard else None)


@dataclass
class Streaming:
    """Every stream begins behind event 41; a test writes to its reader."""

    notes: Notes

    async def place(self, caller: Caller, query: EventQuery, last: str | None) -> Place:
        self.notes.read.append((caller, query))  # type: ignore[arg-type]
        if self.notes.no_place is not None:
            raise self.notes.no_place
        return Place(caller, Wanted(query.kinds), 41 if last is None else int(last))

    def chance(self) -> float:
        return 0.5

    def open(self, place: Place, reader: Any) -> Stream:
        stream = Stream(place, reader)
        self.notes.streams.append((stream, reader))
        return stream

    def gone(self, stream: Stream) -> None:
        self.notes.ended.append(stream)


def seen() -> KeySeen:
    """A key as its org sees it."""
    return KeySeen(
        id="3f9a0c51e7d2",
        name="one",
        scopes=["send"],
        to_prefixes=["+1555"],
        segments_a_day=5,
        segments_today=2,
        created_at=AT_NOON,
        expires_at=None,
        last_used_at=None,
    )


@implementer(ITCPTransport)
class Socket(StringTransport):
    """A connection in memory that can be half closed, lost and looked at."""

    protocol: Any = None
    half_closed = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        super().abortConnection()
        self.lost()

    def lost(self) -> None:
        """The other side is gone."""
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(ConnectionDone()))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json_.loads(self.body)


class Wire:
    """One client's connection to the site, byte by byte."""

    def __init__(self, site: Site, socket: Socket) -> None:
        self.socket = socket
        socket.protocol = site.buildProtocol(cast(Any, socket.getPeer()))
        self.channel: Any = getattr(socket.protocol, "wrappedProtocol", socket.protocol)
        socket.protocol.makeConnection(socket)

    def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.socket.protocol.dataReceived(chunk)

    def ask(self, method: str, path: str, **how: Any) -> None:
        """A whole request in one piece (see `request`)."""
        self.send(request(method, path, **how))

    def answers(self, *methods: str) -> list[Answer]:
        """All answers that came since the last look, to requests of these methods (or GETs)."""
        raw = self.socket.value()
        self.socket.clear()
        found = []
        asked = iter(methods)
        while raw:
            one, raw = _parsed(raw, next(asked, "GET"))
            found.append(one)
        return found

    def answer(self, method: str = "GET") -> Answer:
        (one,) = self.answers(method)
        return one

    @property
    def closed(self) -> bool:
        return self.socket.disconnecting or self.socket.half_closed


class _Source(io.BytesIO):
    def makefile(self, mode: str) -> io.BytesIO:
        return self

    def close(self) -> None:
        """http.client closes what it thinks is its own."""


def _parsed(raw: bytes, method: str) -> tuple[Answer, bytes]:
    source: Any = _Source(raw)
    response = http.client.HTTPResponse(source, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = response.read()
    return Answer(response.status, headers, body), raw[source.tell() :]


@dataclass
class Browser:
    """Asks one thing on a connection of its own. The test's end hangs up all of them."""

    site: Site
    peer: str = "203.0.113.7"
    wires: list[Wire] = field(default_factory=list)

    def wire(self) -> Wire:
        socket = Socket(peerAddress=IPv4Address("TCP", self.peer, 40000))
        self.wires.append(Wire(self.site, socket))
        return self.wires[-1]

    def raw(self, method: str, path: str, **how: Any) -> bytes:
        return request(method, path, **how)

    def ask(
        self, method: str, path: str, *, json: Any = None, body: bytes = b"", **headers: str
    ) -> Answer:
        wire = self.wire()
        wire.ask(method, path, json=json, body=body, **headers)
        return wire.answer(method)


def request(
    method: str, path: str, *, json: Any = None, body: bytes = b"", **headers: str
) -> bytes:
    """A request as bytes; ``X_Secret_Key="..."`` is a header."""
    if json is not None:
        body = json_.dumps(json).encode()
    fields = {"Host": "sms.example", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if body:
        fields["Content-Length"] = str(len(body))
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


@pytest.fixture(autouse=True)
def log(logged_failures: list[Any]) -> Iterator[list[Any]]:
    """All that is logged. An error that a test expected it must take out."""
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)
    logged_failures[:] = [event for event in logged_failures if event in events]
    assert [event for event in events if event["log_level"] >= LogLevel.error] == []


@pytest.fixture
def notes() -> Notes:
    return Notes(secrets={ORG: SECRET, OTHER_ORG: OTHER_SECRET})


@pytest.fixture
def api(notes: Notes) -> Api:
    return Api(notes.services())


@pytest.fixture
def site(api: Api, clock: Clock) -> Site:
    return Site(api, clock)


@pytest.fixture
def browser(site: Site) -> Iterator[Browser]:
    browser = Browser(site)
    yield browser
    for wire in browser.wires:
        wire.socket.lost()


@pytest.fixture
def wire(browser: Browser) -> Wire:
    return browser.wire()


@pytest.fixture
def real_site(api: Api) -> Site:
    """The site on the real reactor, for real sockets."""
    return Site(api, cast(Any, reactor))
