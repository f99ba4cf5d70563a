"""``POST /webhook``: a phone stores the SMS it received, and with its first call claims an org."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from smsd.domain.records import Inbound
from smsd.rest.body import Body, Identified
from smsd.rest.identity import Identity
from smsd.rest.route import route

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller, Newcomer
    from smsd.rest.services import Services

BATCH = 5000


class Delivery(Identified, frozen=True, kw_only=True):
    """SMS that a phone received, and whose they are."""

    messages: Annotated[
        list[Inbound],
        Meta(max_length=BATCH, description="must be a list of at most 5000 messages"),
    ]
    claim_token: str | None = None


class Stored(Struct, frozen=True, kw_only=True):
    """How many of the messages are safe, those included that were stored before."""

    ok: bool = True
    org_id: str
    stored: int


_SENT = {
    "org_id": "myorg",
    "secret_key": "my-secret-key-123",
    "messages": [
        {
            "address": "+15551112222",
            "body": "hi",
            "date": 1700000000000,
            "sim_slot": 0,
            "sim_number": "+15550001111",
            "id": "123",
        }
    ],
}


#: Without X-Org-Id, the body is the only place where the OrgId can be.
_NAMED = {"required": ["org_id"], "properties": {"org_id": {"type": "string"}}}


@route(
    "POST",
    "/webhook",
    identity=Identity.CLAIMS,
    scopes=("phone",),
    body=Body(Delivery, lenient=True, example=_SENT, rule=_NAMED),
    answer=Stored,
    example={"ok": True, "org_id": "myorg", "stored": 1},
)
async def store_inbound(services: Services, phone: Caller | Newcomer, body: Delivery) -> Stored:
    """Store received SMS.

    All or nothing: 200 means that every message is committed to disk. A message with an `id`
    may be sent again without harm. With an OrgId that nobody has claimed yet, the call claims it
    with this secret.
    """
    stored = await services.inbox.store(phone, body.messages)
    return Stored(org_id=phone.org_id, stored=stored)
