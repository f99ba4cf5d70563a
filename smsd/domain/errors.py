"""The one tree of what can go wrong and may be told to the other side.

A `Problem` is ordinary: a phone or an agent asked for something that cannot be, or cannot be
now. Its docstring is the sentence they read unless a better detail is given; the faces translate
it (to ``application/problem+json`` or to an ``error`` frame and a close code) and nobody else
does. What is *not* a `Problem` is a bug of ours and is shown to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with an input: the path to it, and what would be right."""

    loc: list[str | int]
    msg: str


class Problem(Exception):
    """The request could not be carried out."""

    slug: ClassVar[str] = "problem"
    title: ClassVar[str] = "Problem"
    status: ClassVar[int] = 400
    close: ClassVar[int] = 4400
    #: What `NotReady` tells of.
    parts: Mapping[str, str] | None = None

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: list[Fault] | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """``retry_after`` is in seconds; ``headers`` are what HTTP asks to be sent with it."""
        self.detail = detail or " ".join((type(self).__doc__ or "").split())
        self.errors = errors
        self.retry_after = retry_after
        self.headers = headers or {}
        super().__init__(self.detail)


class NotJson(Problem):
    """The body is not a JSON object in UTF-8."""

    slug, title, status = "not_json", "Not JSON", 400


class Contradiction(Problem):
    """The request names two different identities: send each of org and secret once."""

    slug, title, status = "contradictory_identity", "Contradictory identity", 400


class BadRequest(Problem):
    """The request is not understood."""

    slug, title, status = "bad_request", "Bad request", 400


class Unauthorised(Problem):
    """OrgId and SecretKey do not belong together. Check both; the secret is best sent as the
    header X-Secret-Key."""

    slug, title, status, close = "unauthorised", "Unauthorised", 401, 4401


class Forbidden(Problem):
    """This is not allowed."""

    slug, title, status = "forbidden", "Forbidden", 403


class WrongKey(Unauthorised):
    """This API key does not open this org: it is wrong, has expired or was deleted, or the OrgId is
    missing or another. Keys are made by whoever has the SecretKey, with POST /keys/{OrgId}."""

    slug, title = "wrong_key", "Wrong key"


class MissingScope(Forbidden):
    """This API key is good, but not for this."""

    slug, title, close = "missing_scope", "Missing scope", 4403
    #: What the key would have to have as well; empty where no key is enough.
    scopes: Sequence[str] = ()

    @classmethod
    def of(cls, lacking: Sequence[str], scopes: Sequence[str]) -> MissingScope:
        """``lacking`` is asked for, ``scopes`` is what the key has."""
        named = "the scope" if len(lacking) == 1 else "the scopes"
        problem = cls(
            f"This key lacks {named} {' and '.join(lacking)}; it has {', '.join(scopes) or 'none'}."
        )
        problem.scopes = lacking
        return problem


class UnknownKey(Problem):
    """This org has no API key with this id; GET /keys/{OrgId} lists all."""

    slug, title, status = "unknown_key", "Unknown key", 404


class KeysFull(Problem):
    """This org has as many API keys as it may have: delete some first."""

    slug, title, status = "keys_full", "Too many keys", 409


class UnknownHook(Problem):
    """This org has no hook with this id; GET /hooks/{OrgId} lists all."""

    slug, title, status = "unknown_hook", "Unknown hook", 404


class HooksFull(Problem):
    """This org has as many hooks as it may have, twenty: delete one, or let one hook have more
    types of events."""

    slug, title, status = "hooks_full", "Too many hooks", 409


class EndpointBusy(Problem):
    """As many posts as may be are on their way to this endpoint just now: try again."""

    slug, title, status = "endpoint_busy", "Endpoint busy", 429


class Superseded(Problem):
    """This secret was replaced and only works on for its grace: set a new one with the present
    one."""

    slug, title, status = "superseded", "Superseded", 403


class NotFound(Problem):
    """There is nothing at this path. The paths are listed at /docs."""

    slug, title, status = "not_found", "Not found", 404


class MethodNotAllowed(Problem):
    """This path does not take this method; the Allow header lists those it takes."""

    slug, title, status = "method_not_allowed", "Method not allowed", 405


class TooSlow(Problem):
    """The request did not arrive whole in time."""

    slug, title, status = "too_slow", "Request time-out", 408


class TooLarge(Problem):
    """The body is over 1 MiB (1,048,576 bytes): send fewer messages at a time."""

    slug, title, status, close = "too_large", "Too large", 413, 1009


class UnsupportedMedia(Problem):
    """Send the body as plain JSON in UTF-8, without a Content-Encoding."""

    slug, title, status = "unsupported_media", "Unsupported media type", 415


class Invalid(Problem):
    """The JSON has the wrong shape; every fault is listed, and nothing was stored."""

    slug, title, status, close = "invalid", "Invalid", 422, 4401


class EventsGone(Problem):
    """Something was missed since this cursor: read GET /messages once, and go on from the oldest
    cursor that is still good."""

    slug, title, status = "events_gone", "Events gone", 410
    #: That cursor.
    oldest: int | None = None

    @classmethod
    def below(cls, oldest: int) -> EventsGone:
        """Where cursors below this one have missed something."""
        problem = cls(
            "Something was missed since this cursor, for events are kept for a time only. Read "
            f"GET /messages once; the oldest cursor that is still good is {oldest}."
        )
        problem.oldest = oldest
        return problem


class UpgradeRequired(Problem):
    """This path speaks WebSocket (RFC 6455, version 13) only."""

    slug, title, status = "upgrade_required", "Upgrade required", 426


class Locked(Problem):
    """Too many wrong secrets for this OrgId: it is locked for strangers for 5 minutes."""

    slug, title, status, close = "locked", "Locked", 429, 4429


class TooMany(Problem):
    """Too much at once from this address."""

    slug, title, status, close = "too_many", "Too many requests", 429, 4429


class GatewayFull(Problem):
    """This gateway has as many orgs as it may have: ask its operator."""

    slug, title, status, close = "gateway_full", "Gateway full", 429, 4429


class QueueFull(Problem):
    """As many tickets of this org wait as may wait."""

    slug, title, status = "queue_full", "Queue full", 429


class BudgetSpent(Problem):
    """This API key has sent as many segments today (UTC) as it may."""

    slug, title, status = "budget_spent", "Budget spent", 429


class TooManySends(Problem):
    """This org has sent as many messages within a minute as it may."""

    slug, title, status = "too_many_sends", "Too many sends", 429


class Unavailable(Problem):
    """The database is away or slow. Nothing was acknowledged; try again."""

    slug, title, status, close = "unavailable", "Unavailable", 503, 4503


class StorageFull(Unavailable):
    """This org has as many messages as it may have. Nothing was acknowledged; try again when
    there is room."""

    slug, title, status = "storage_full", "Storage full", 429


class NotReady(Unavailable):
    """The gateway is not ready."""

    slug, title = "not_ready", "Not ready"

    def __init__(
        self, detail: str | None = None, *, parts: Mapping[str, str] | None = None
    ) -> None:
        """Each of the ``parts`` is ok, or what is wrong with it."""
        super().__init__(detail)
        self.parts = parts


class ShuttingDown(Problem):
    """The gateway is shutting down. Nothing was acknowledged; try again."""

    slug, title, status, close = "shutting_down", "Shutting down", 503, 1001


class Replaced(Problem):
    """The same phone has connected again; this session is over."""

    slug, title, status, close = "replaced", "Replaced", 409, 4409


class Flapping(Problem):
    """This phone's identity connects again and again: is there a clone of it?"""

    slug, title, status, close = "flapping", "Flapping", 503, 4503


class Silent(Problem):
    """Nothing was heard in time."""

    slug, title, status, close = "silent", "Silent", 408, 4408


class BadFrame(Problem):
    """The frame is not understood."""

    slug, title, status, close = "bad_frame", "Bad frame", 400, 4400


class NotCancellable(Problem):
    """The ticket is, or may be, at a phone, or has ended."""

    slug, title, status = "not_cancellable", "Not cancellable", 409


class StillAsking(Problem):
    """The first call with this key still waits for its reply: repeat the call after that."""

    slug, title, status = "still_asking", "Still asking", 409


class UnknownTicket(Problem):
    """No ticket of this org with this id was ever pushed to a phone."""

    slug, title, status = "unknown_ticket", "Unknown ticket", 404
