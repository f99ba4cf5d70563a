"""``/optouts``: an org says how it keeps to STOP, and sees, adds and lifts who has opted out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from smsd.domain.errors import Fault, Invalid
from smsd.domain.opt_outs import OptOuts, Scope, Text, says
from smsd.domain.records import ADDRESS_LENGTH
from smsd.rest.body import Body, Identified
from smsd.rest.identity import Identity
from smsd.rest.route import SECRET_ONLY, route

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller
    from smsd.rest.services import Services
    from smsd.store.opt_outs import OptedOut

_NUMBER = re.compile(rf"(?=.*\S)[^\x00\ud800-\udfff]{{1,{ADDRESS_LENGTH}}}", re.DOTALL)


class HowAsked(Identified, frozen=True, kw_only=True):
    """Whether the org keeps to STOP, for whom it holds, and what is answered to each kind of word.
    It replaces what was set."""

    enabled: Annotated[bool, Meta(description="must be true or false")]
    scope: Scope = "org"
    stopped: Text | None = None
    started: Text | None = None
    help: Text | None = None

    def __post_init__(self) -> None:
        for name in ("stopped", "started", "help"):
            if says(getattr(self, name) or ""):
                raise ValueError(f"{name} must not be a word that is answered itself")

    @property
    def how(self) -> OptOuts | None:
        """What was asked, without who asks; None: the org does not keep to it."""
        if not self.enabled:
            return None
        return OptOuts(scope=self.scope, stopped=self.stopped, started=self.started, help=self.help)


class How(Struct, frozen=True, kw_only=True):
    """How the org keeps to STOP."""

    org_id: str
    enabled: bool
    scope: Scope
    stopped: str | None
    started: str | None
    help: str | None


class OptOut(Struct, frozen=True, kw_only=True):
    """A number that wants to hear nothing more: since when, and the `word` that it sent; null
    where the org wrote it down. `sim`: digits of the SIM that heard it, where that is known."""

    number: str
    sim: str | None
    since: str
    word: str | None


class OptOutList(How, frozen=True, kw_only=True):
    """A page of the numbers. `next` is the `after` of the next page; null on the last one."""

    count: int
    opt_outs: list[OptOut]
    next: str | None


class OptOutQuery(Struct, frozen=True, kw_only=True):
    """Which page."""

    limit: Annotated[
        int, Meta(ge=1, le=1000, description="must be a whole number from 1 to 1000")
    ] = 100
    after: (
        Annotated[
            str,
            Meta(
                min_length=2,
                max_length=280,
                pattern=r"^[0-9]*:[^\x00]+$(?!\n)",
                description="must be the next of the page before",
            ),
        ]
        | None
    ) = None


class NumberShown(Struct, frozen=True, kw_only=True):
    """Whether a number has opted out, and what the list has of it."""

    org_id: str
    number: str
    opted_out: bool
    opt_outs: list[OptOut]


class Lifted(Struct, frozen=True, kw_only=True):
    """The number may be sent to again; `lifted` is false where it was not on the list."""

    ok: bool = True
    org_id: str
    number: str
    lifted: bool


_HOW = {
    "enabled": True,
    "scope": "org",
    "stopped": "You will hear nothing more from us. START to change that.",
    "started": "Welcome back. STOP to hear nothing more.",
    "help": "This is the shop. Questions: +1 555 010 0000. STOP to hear nothing more.",
}
_ONE = {
    "number": "+15553334444",
    "sim": "15550001111",
    "since": "2026-01-31T12:00:00.123456+00:00",
    "word": "STOP",
}


@route(
    "GET",
    "/optouts/<org_id>",
    identity=Identity.MEMBER,
    scopes=("read",),
    query=OptOutQuery,
    answer=OptOutList,
    example={"org_id": "myorg", **_HOW, "count": 1, "opt_outs": [_ONE], "next": None},
)
async def list_opt_outs(services: Services, caller: Caller, query: OptOutQuery) -> OptOutList:
    """List the numbers that have opted out.

    And how the org keeps to STOP. While `enabled` is false the list is kept, and holds nothing
    back.
    """
    sim, _, key = (query.after or ":").partition(":")
    page = await services.consent.page(caller, after=(key, sim), most=query.limit)
    last = page.numbers[-1] if page.more else None
    how = _shown(caller.org_id, await services.consent.how(caller))
    return OptOutList(
        **{name: getattr(how, name) for name in How.__struct_fields__},
        count=len(page.numbers),
        opt_outs=list(map(_one, page.numbers)),
        next=last and f"{last.sim}:{last.key}",
    )


@route(
    "PUT",
    "/optouts/<org_id>",
    identity=Identity.MEMBER,
    scopes=SECRET_ONLY,
    body=Body(HowAsked, example=_HOW),
    answer=How,
    example={"org_id": "myorg", **_HOW},
)
async def set_opt_outs(services: Services, caller: Caller, body: HowAsked) -> How:
    """Say how the org keeps to STOP.

    When `enabled`, a number that sends STOP, STOPALL, UNSUBSCRIBE, CANCEL, END or QUIT is sent
    nothing more by the whole org, or (`scope` `sim`) by the SIM that heard it: its tickets are
    `failed` with the error `opted_out`. START and UNSTOP lift that. The texts `stopped`, `started`
    and `help` are answered; without one, nothing is.
    """
    return _shown(caller.org_id, await services.consent.set_how(caller, body.how))


@route(
    "GET",
    "/optouts/<org_id>/<number>",
    identity=Identity.MEMBER,
    scopes=("read",),
    answer=NumberShown,
    example={"org_id": "myorg", "number": "+15553334444", "opted_out": True, "opt_outs": [_ONE]},
)
async def show_opt_out(services: Services, caller: Caller, number: str) -> NumberShown:
    """Show whether a number has opted out."""
    number = _checked(number)
    return _of(caller, number, await services.consent.of(caller, number))


@route(
    "PUT",
    "/optouts/<org_id>/<number>",
    identity=Identity.MEMBER,
    scopes=("send",),
    answer=NumberShown,
    example={
        "org_id": "myorg",
        "number": "+15553334444",
        "opted_out": True,
        "opt_outs": [{**_ONE, "sim": None, "word": None}],
    },
)
async def add_opt_out(services: Services, caller: Caller, number: str) -> NumberShown:
    """Opt a number out.

    For whoever said so otherwise than by SMS. It holds for every SIM, and nothing is answered.
    """
    number = _checked(number)
    return _of(caller, number, await services.consent.add(caller, number))


@route(
    "DELETE",
    "/optouts/<org_id>/<number>",
    identity=Identity.MEMBER,
    scopes=SECRET_ONLY,
    answer=Lifted,
    example={"ok": True, "org_id": "myorg", "number": "+15553334444", "lifted": True},
)
async def lift_opt_out(services: Services, caller: Caller, number: str) -> Lifted:
    """Lift the opt-out of a number.

    Only whoever has the SecretKey may: the number itself does it with START.
    """
    number = _checked(number)
    lifted = await services.consent.lift(caller, number)
    return Lifted(org_id=caller.org_id, number=number, lifted=lifted)


def _shown(org_id: str, how: OptOuts | None) -> How:
    kept = how or OptOuts(scope="org")
    return How(
        org_id=org_id,
        enabled=how is not None,
        scope=kept.scope,
        stopped=kept.stopped,
        started=kept.started,
        help=kept.help,
    )


def _checked(number: str) -> str:
    if not _NUMBER.fullmatch(number):
        told = f"must be a number or a sender's name of 1 to {ADDRESS_LENGTH} characters"
        raise Invalid("The path has no number.", errors=[Fault(["number"], told)])
    return number


def _of(caller: Caller, number: str, found: list[OptedOut]) -> NumberShown:
    return NumberShown(
        org_id=caller.org_id,
        number=number,
        opted_out=bool(found),
        opt_outs=list(map(_one, found)),
    )


def _one(found: OptedOut) -> OptOut:
    return OptOut(number=found.address, sim=found.sim or None, since=found.since, word=found.word)
