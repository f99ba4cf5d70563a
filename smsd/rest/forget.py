"""``DELETE /messages``: an org forgets one person: what they wrote, and what they were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from smsd.domain.records import ADDRESS_LENGTH
from smsd.rest.identity import Identity
from smsd.rest.route import SECRET_ONLY, route

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller
    from smsd.rest.services import Services


class ForgetQuery(Struct, frozen=True, kw_only=True):
    """Who is to be forgotten."""

    address: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=ADDRESS_LENGTH,
            pattern=r"^[^\x00]*[^\x00\s][^\x00]*$",
            description="must be a number or a sender's name of 1 to 256 characters",
        ),
    ]


class Forgotten(Struct, frozen=True, kw_only=True):
    """How many messages were deleted; none is no error."""

    ok: bool
    org_id: str
    deleted: int


@route(
    "DELETE",
    "/messages/<org_id>",
    identity=Identity.MEMBER,
    scopes=SECRET_ONLY,
    query=ForgetQuery,
    answer=Forgotten,
    example={"ok": True, "org_id": "myorg", "deleted": 2},
)
async def forget_address(services: Services, agent: Caller, query: ForgetQuery) -> Forgotten:
    """Forget a person.

    Deletes for good every message from and to this address. Tickets to it that wait are never
    sent; what a phone has been given already may still go out.
    """
    deleted = await services.archive.forget(agent, query.address)
    return Forgotten(ok=True, org_id=agent.org_id, deleted=deleted)
