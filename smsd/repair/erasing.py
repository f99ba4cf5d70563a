"""What is taken away for good or carried off: an org, a person, messages that are old."""

from __future__ import annotations

from typing import Any

import msgspec

from smsd.domain.numbers import address_key
from smsd.domain.query import MessageQuery
from smsd.repair.declared import Option, command
from smsd.repair.desk import Desk
from smsd.repair.endings import Misused
from smsd.repair.orgs import shut, there
from smsd.store import erasure, messages, overview

#: Seconds: gateways send the phones of a closed org away within five.
PHONES_LEAVE = 30.0
#: Seconds: no statement of a gateway runs longer than half of that.
WRITERS_END = 10.0

ONLY_ORG = Option("org", "Only in this org. [default: in all]")
DAYS = Option("days", "Older than so many days. [default: the setting keep_messages]")


@command("org delete", "ORG")
async def delete(desk: Desk, org_id: str) -> None:
    """Close an org and delete it with all its messages; its ids are never used again."""
    await there(desk, org_id)
    desk.terminal.confirm(f"Delete {org_id} and all its messages? Nothing brings them back.")
    await shut(desk, org_id)
    await _phones_gone(desk, org_id)
    erased = await _emptied_and_deleted(desk, org_id)
    desk.terminal.done(
        f"Org {org_id} is deleted, with {_messages(erased)}.", org_id=org_id, deleted=erased
    )


async def _phones_gone(desk: Desk, org_id: str) -> None:
    async def gone() -> bool:
        return not await overview.phones(desk.database, org_id)

    await desk.until(
        gone,
        within=PHONES_LEAVE,
        doing="waiting for its phones to go",
        otherwise=f"Phones of {org_id} are still on line, so it was closed and not deleted: see "
        "`smsd phones`, and do this again.",
    )


async def _emptied_and_deleted(desk: Desk, org_id: str) -> int:
    told, erased, moment = desk.terminal.progress("messages deleted"), 0, None
    while moment is None:
        erased += await erasure.erase(desk.database, org_id, told=told)
        moment = await erasure.delete_org(desk.database, org_id)
    deleted_at = moment

    async def quiet() -> bool:
        return not await erasure.writers_since(desk.database, deleted_at)

    await desk.until(
        quiet,
        within=WRITERS_END,
        doing="waiting for what was under way",
        otherwise=f"Org {org_id} is deleted, but a statement that began before goes on still.",
    )
    return erased + await erasure.erase_strays(desk.database, org_id)


@command("org forget", "NUMBER", options=[ONLY_ORG])
async def forget(desk: Desk, number: str) -> None:
    """Delete what one person wrote and was sent; tickets to them that wait are never sent."""
    key = address_key(number)
    if not key:
        raise Misused(f"{number!r} is no number and no sender's name.")
    only = desk.asked["org"]
    if only is not None:
        await there(desk, only)
    where = f"in {only}" if only else "in every org"
    desk.terminal.confirm(f"Delete all messages from and to {number} {where}?")
    told, deleted = desk.terminal.progress("messages deleted"), 0
    org_ids = [only] if only else [org_id async for org_id in overview.every_org_id(desk.database)]
    for org_id in org_ids:
        deleted += await erasure.forget(desk.database, org_id, key, told=told)
    desk.terminal.done(f"{_messages(deleted).capitalize()} deleted.", deleted=deleted)


@command("org export", "ORG")
async def export(desk: Desk, org_id: str) -> None:
    """Write all messages of an org to standard output: one JSON object a line, in order of ids."""
    await there(desk, org_id)
    told, since_id = desk.terminal.progress("messages written"), 0
    while page := await _page(desk, org_id, since_id):
        for message in page:
            desk.terminal.line(message)
        since_id = page[-1]["id"]
        told(len(page))


async def _page(desk: Desk, org_id: str, since_id: int) -> list[dict[str, Any]]:
    query = MessageQuery(limit=1000, since_id=since_id)
    answer = msgspec.json.decode(await messages.read(desk.database, org_id, query))
    return answer["messages"]  # type: ignore[no-any-return]


@command("prune", options=[DAYS])
async def prune(desk: Desk) -> None:
    """Delete messages that are older than so many days; tickets that have not ended stay."""
    said = desk.asked["days"]
    days = desk.settings.keep_messages if said is None else desk.number("days", 1, 36_500)
    if not days:
        raise Misused("Nothing says how old: give --days, or set keep_messages.")
    desk.terminal.confirm(f"Delete all messages that are older than {days} days?")
    told = desk.terminal.progress("messages deleted")
    deleted = await erasure.prune(desk.database, days, told=told)
    desk.terminal.done(f"{_messages(deleted).capitalize()} deleted.", deleted=deleted)


def _messages(number: int) -> str:
    return "1 message" if number == 1 else f"{number:,} messages" if number else "no message"
