"""What the REST face needs of the gateway, in one bundle that its routes are handed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from smsd.gateway.archive import Archive
from smsd.gateway.consent import Consent
from smsd.gateway.doorman import Caller, Doorman, Newcomer
from smsd.gateway.hearing import Hearing
from smsd.gateway.hooks import Hooks
from smsd.gateway.inbox import Inbox
from smsd.gateway.keys import Keys
from smsd.gateway.outbox import Outbox
from smsd.gateway.paces import Paces
from smsd.gateway.questions import Questions
from smsd.gateway.rotation import Rotation
from smsd.gateway.streams import Streams
from smsd.rest.identity import PathSecrets
from smsd.rest.request import Request


class Upgrade(Protocol):
    """Makes a phone's session of a request: `Request.hand_over` to a protocol of its choice."""

    def __call__(
        self,
        request: Request,
        admitted: Caller | Newcomer | None,
        *,
        device_id: str | None,
        ledger: bool,
    ) -> Awaitable[None] | None:
        """``admitted`` is None where the phone will say who it is in its first frame."""


@dataclass(frozen=True)
class Services:
    """The gateway as its REST face knows it. ``readiness`` is what
    `smsd.gateway.readiness` says of each part;
    ``sims`` answers with the JSON of `smsd.rest.sims.Sims`."""

    doorman: Doorman
    inbox: Inbox
    outbox: Outbox
    archive: Archive
    hearing: Hearing
    questions: Questions
    streams: Streams
    rotation: Rotation
    keys: Keys
    hooks: Hooks
    paces: Paces
    consent: Consent
    sims: Callable[[Caller], Awaitable[bytes]]
    readiness: Callable[[], Awaitable[Mapping[str, str]]]
    upgrade: Upgrade
    path_secrets: PathSecrets = field(default_factory=PathSecrets)
