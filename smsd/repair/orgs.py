"""``smsd org …``: see tenants, let them in, lock them out."""

from __future__ import annotations

import secrets

from smsd.domain.credentials import LONGEST_GRACE
from smsd.repair import chosen, limits
from smsd.repair.declared import Option, command
from smsd.repair.desk import Desk
from smsd.repair.endings import NotAllowed, NotThere
from smsd.repair.terminal import cells
from smsd.store import overview, remedies
from smsd.store.overview import OrgSeen
from smsd.store.remedies import CLOSED, NoGrace, Secret

COLUMNS = ("org_id", "state", "created_at", "phones", "queued", "sending", "last_id")

SECRET_STDIN = Option(
    "secret-stdin",
    "Take the secret from the first line of standard input, or ask for it at a terminal; "
    "without this one is made and shown once.",
    False,
)
GRACE = Option("grace", "For so many seconds the old secret works on. [default: 0]", "0")


@command("org list")
async def list_orgs(desk: Desk) -> None:
    """List the orgs: their state, phones on line, tickets that have not ended, the last id."""
    found: list[OrgSeen] = []
    told = desk.terminal.progress("orgs")
    while page := await overview.orgs(desk.database, found[-1].org_id if found else ""):
        found += page
        told(len(page))
    desk.terminal.rows(COLUMNS, [cells(org) for org in found], empty="There is no org yet.")


@command("org show", "ORG")
async def show(desk: Desk, org_id: str) -> None:
    """Show all there is to know of an org."""
    seen = await there(desk, org_id)
    more = await overview.details(desk.database, org_id)
    if more is None:  # it was deleted this very moment
        raise _unknown(org_id)
    own = await limits.own_of(desk, org_id)
    allowed = await limits.seen(desk, seen, more, own)
    desk.terminal.facts({**cells(seen), **cells(more), **allowed, **chosen.seen(own)})


@command("org create", "ORG", options=[SECRET_STDIN])
async def create(desk: Desk, org_id: str) -> None:
    """Create an org, where callers may not claim one themselves."""
    secret, made = desk.new_secret(org_id)
    if not await remedies.create(desk.database, org_id, await desk.seal(org_id, secret)):
        raise NotAllowed(f"There is an org {org_id} already.")
    _tell_secret(desk, f"Org {org_id} is there.", org_id, secret if made else None)


@command("org rotate", "ORG", options=[SECRET_STDIN, GRACE])
async def rotate(desk: Desk, org_id: str) -> None:
    """Give an org another secret; phones that are connected stay. Opens one that was closed."""
    await there(desk, org_id)
    grace = desk.number("grace", 0, LONGEST_GRACE)
    desk.terminal.confirm(f"Give {org_id} another secret?")
    secret, made = desk.new_secret(org_id)
    try:
        until = await remedies.replace_secret(
            desk.database, org_id, await desk.seal(org_id, secret), grace=grace
        )
    except KeyError:
        raise _unknown(org_id) from None
    except NoGrace:
        raise NotAllowed(
            f"The old secret of {org_id} cannot work on: it was sealed under another pepper than "
            "the one that is found here. Say --data-dir as the gateway does, or no --grace."
        ) from None
    said = f"Org {org_id} has another secret"
    said += f"; the old one works until {until:%Y-%m-%d %H:%M:%S}." if until else "."
    _tell_secret(desk, said, org_id, secret if made else None)


@command("org unlock", "ORG")
async def unlock(desk: Desk, org_id: str) -> None:
    """End the lock that wrong secrets brought about, and forget the failures."""
    if not await remedies.unlock(desk.database, org_id):
        raise _unknown(org_id)
    desk.terminal.done(f"Org {org_id} is not locked.", org_id=org_id, locked=False)


@command("org close", "ORG")
async def close(desk: Desk, org_id: str) -> None:
    """Let nobody of an org in any more, and send its phones away; all its data stays."""
    await there(desk, org_id)
    desk.terminal.confirm(f"Close {org_id}? Its secret will work no more.")
    await shut(desk, org_id)
    desk.terminal.done(
        f"Org {org_id} is closed; its phones go within seconds. "
        f"`smsd org rotate {org_id}` opens it again.",
        org_id=org_id,
        state=CLOSED,
    )


async def shut(desk: Desk, org_id: str) -> None:
    """Make it an org whose secret nobody has."""
    nobodys = await desk.seal(org_id, secrets.token_hex(32))
    secret = Secret(nobodys.secret_hash, secrets.token_bytes(32), CLOSED)
    try:
        await remedies.replace_secret(desk.database, org_id, secret)
    except KeyError:
        raise _unknown(org_id) from None


async def there(desk: Desk, org_id: str) -> OrgSeen:
    """The org; raises `NotThere`."""
    if seen := await overview.org(desk.database, org_id):
        return seen
    raise _unknown(org_id)


def _unknown(org_id: str) -> NotThere:
    return NotThere(f"There is no org {org_id}; `smsd org list` shows all.")


def _tell_secret(desk: Desk, said: str, org_id: str, secret: str | None) -> None:
    if secret is None:
        desk.terminal.done(said, org_id=org_id)
        return
    desk.terminal.done(
        f"{said}\nSecretKey, shown this once: {secret}", org_id=org_id, secret_key=secret
    )
