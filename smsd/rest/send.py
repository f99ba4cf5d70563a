"""``POST /send``: an agent hands in SMS to be sent; each becomes a ticket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from smsd.domain import call_key
from smsd.domain.records import Body as Text
from smsd.domain.records import Draft, Receipt, SimAsked, SimIndex, To
from smsd.domain.segments import Encoding, cut
from smsd.domain.timing import ExpiresAt, Priority, SendAt, Ttl, contradicted
from smsd.gateway.outlook import Outlook, PhoneAndSim
from smsd.rest.body import Body, Identified
from smsd.rest.header import IDEMPOTENCY_KEY, REPLAYED
from smsd.rest.identity import Identity
from smsd.rest.reply import Reply
from smsd.rest.route import route

if TYPE_CHECKING:
    from smsd.gateway.accepted import Accepted
    from smsd.gateway.doorman import Caller
    from smsd.gateway.outlook import Forecast
    from smsd.rest.services import Services

BATCH = 1000
#: What may be said once for all messages; the two of a lifetime stand for each other.
SHARED = ("sim", "send_at", "ttl", "expires_at", "priority", "receipt")
LIFETIME = {"ttl", "expires_at"}

DryRun = Annotated[bool, Meta(description="must be true (tell, and store nothing) or false")]


class Outgoing(Identified, frozen=True, kw_only=True):
    """Either `to` and `body`, or `messages`. The other fields hold for every message without its
    own; of `ttl` and `expires_at` one may be given."""

    to: To | None = None
    body: Text | None = None
    sim: SimAsked | SimIndex | None = None
    send_at: SendAt | None = None
    ttl: Ttl | None = None
    expires_at: ExpiresAt | None = None
    priority: Priority | None = None
    receipt: Receipt | None = None
    dry_run: DryRun | None = None
    messages: (
        Annotated[
            list[Draft],
            Meta(
                min_length=1, max_length=BATCH, description="must be a list of 1 to 1000 messages"
            ),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        single = self.to is not None or self.body is not None
        if single and self.messages is not None:
            raise ValueError("send either to and body, or messages, not both")
        if not single and self.messages is None:
            raise ValueError("nothing to send: give to and body, or messages")
        if single and (self.to is None or self.body is None):
            missing, given = ("to", "body") if self.to is None else ("body", "to")
            raise ValueError(f"{missing} is missing beside {given}")
        if fault := contradicted(self):
            raise ValueError(fault)

    @property
    def drafts(self) -> list[Draft]:
        """What is to be sent, each with all that was asked for it."""
        if self.messages is None:
            return [
                Draft(
                    to=self.to or "",
                    body=self.body or "",
                    sim=self.sim,
                    send_at=self.send_at,
                    ttl=self.ttl,
                    expires_at=self.expires_at,
                    priority=self.priority,
                    receipt=self.receipt,
                )
            ]
        shared = {name: value for name in SHARED if (value := getattr(self, name)) is not None}
        return [_completed(draft, shared) for draft in self.messages] if shared else self.messages


class Ticket(Struct, frozen=True, kw_only=True):
    """What became of one message so far: `sending` if a phone has it, else `queued`; `failed`, with
    the `error` `opted_out`, where its number wants nothing more.

    All from `encoding` on is told where an optional field asked for it. `forced_by` is the first
    character that GSM-7 lacks. A dry run has no `id`. `not_before` is told where the pace of its
    SIM makes it wait.
    """

    id: int | UnsetType = UNSET
    to: str
    status: str
    error: str | UnsetType = UNSET
    encoding: Encoding | UnsetType = UNSET
    segments: int | UnsetType = UNSET
    forced_by: str | UnsetType = UNSET
    taken_by: PhoneAndSim | UnsetType = UNSET
    waiting_for: PhoneAndSim | UnsetType = UNSET
    not_before: str | UnsetType = UNSET


class SendAnswer(Struct, frozen=True, kw_only=True):
    """The tickets, in the order of the messages. All of them are committed to disk; those of a
    dry run are nowhere."""

    ok: bool = True
    device_online: bool
    queued: int
    results: list[Ticket]
    dry_run: bool | UnsetType = UNSET


_SENT = {
    "secret_key": "my-secret-key-123",
    "sim": "+15550001111",
    "to": "+15553334444",
    "body": "sent from API",
}

_TEXT, _NULL = {"type": "string"}, {"type": "null"}
#: What ``__post_init__`` checks, in JSON Schema's words.
_EITHER = {
    "oneOf": [
        {
            "required": ["to", "body"],
            "properties": {"to": _TEXT, "body": _TEXT, "messages": _NULL},
        },
        {
            "required": ["messages"],
            "properties": {"to": _NULL, "body": _NULL, "messages": {"type": "array"}},
        },
    ]
}


@route(
    "POST",
    "/send/<org_id>",
    identity=Identity.MEMBER,
    scopes=("send",),
    body=Body(Outgoing, example=_SENT, rule=_EITHER),
    header=IDEMPOTENCY_KEY,
    answer=SendAnswer,
    example={
        "ok": True,
        "device_online": True,
        "queued": 1,
        "results": [{"id": 5, "to": "+15553334444", "status": "sending"}],
    },
)
async def send(
    services: Services, agent: Caller, body: Outgoing, key: str | None
) -> SendAnswer | Reply:
    """Send one SMS or up to 1000.

    Always accepted: without a connected phone that fits, the tickets wait. A `sim` of 0 to 15 is
    a slot, anything else a SIM's number; without one, the first connected phone sends. A message
    with `send_at` waits until then; one that is not sent within `ttl` seconds, or by `expires_at`,
    is not sent at all; of those that wait for a SIM the highest `priority` goes first. With
    `receipt` true the phone is asked to report whether it arrived. With
    `dry_run` true nothing is stored: the answer tells what would become of each message. With
    an `Idempotency-Key` it is safe to repeat the call until it is answered.
    """
    drafts, lone = body.drafts, body.messages is None
    if body.dry_run:
        return _foretold(await services.outbox.forecast(agent, drafts, lone=lone), drafts)
    more = body.dry_run is not None or any(draft.asks_more for draft in drafts)
    if key is None:
        accepted = await services.outbox.accept(agent, drafts, lone=lone, ahead=more)
        return _answered(accepted, drafts, more)
    named = call_key.named(key, "send", body)
    accepted = await services.outbox.accept_once(agent, drafts, named, lone=lone, ahead=more)
    answer = _answered(accepted, drafts, more)
    return Reply(msgspec.json.encode(answer), headers=REPLAYED) if accepted.replayed else answer


def _answered(accepted: Accepted, drafts: list[Draft], more: bool) -> SendAnswer:
    """``more``: a field was used that the first clients did not know."""
    results = [
        Ticket(
            id=each.id,
            to=each.to,
            status=each.status,
            error=each.error or UNSET,
            not_before=each.not_before or UNSET,
        )
        for each in accepted.results
    ]
    if more:
        outlooks = [each.outlook for each in accepted.results]
        results = list(map(_in_full, results, drafts, outlooks))
    return SendAnswer(device_online=accepted.device_online, queued=len(results), results=results)


def _foretold(forecast: Forecast, drafts: list[Draft]) -> SendAnswer:
    results = [
        _in_full(
            Ticket(to=draft.to, status=_status(outlook), error=outlook.error or UNSET),
            draft,
            outlook,
        )
        for draft, outlook in zip(drafts, forecast.outlooks, strict=True)
    ]
    return SendAnswer(device_online=forecast.device_online, queued=0, results=results, dry_run=True)


def _status(outlook: Outlook) -> str:
    if outlook.error is not None:
        return "failed"
    return "sending" if outlook.taken_by else "queued"


def _in_full(ticket: Ticket, draft: Draft, outlook: Outlook | None) -> Ticket:
    parts = cut(draft.body)
    outlook = outlook or Outlook()
    return msgspec.structs.replace(
        ticket,
        encoding=parts.encoding,
        segments=parts.segments,
        forced_by=parts.forced_by or UNSET,
        taken_by=outlook.taken_by or UNSET,
        waiting_for=outlook.waiting_for or UNSET,
        not_before=outlook.not_before or ticket.not_before,
    )


def _completed(draft: Draft, shared: dict[str, Any]) -> Draft:
    """With what is said for all, where it does not say something else itself."""
    own = {name for name in shared if getattr(draft, name) is not None}
    if draft.ttl is not None or draft.expires_at is not None:
        own |= LIFETIME
    return msgspec.structs.replace(draft, **{n: v for n, v in shared.items() if n not in own})
