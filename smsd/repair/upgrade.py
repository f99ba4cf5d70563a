"""``smsd upgrade``: a private Postgres moves to the version of the programs that are found."""

from __future__ import annotations

from smsd.opening import private_home
from smsd.repair.declared import command
from smsd.repair.endings import Ended, NotAllowed
from smsd.repair.ground import Ground
from smsd.store.binaries import find
from smsd.store.unusable import InUse, PostgresUnusable
from smsd.store.upgrade import carry_out, planned


@command("upgrade", bare=True)
async def upgrade(ground: Ground) -> None:
    """Bring the private Postgres to the newest version found here; the old data is kept aside."""
    configured = ground.settings.postgres_bin
    if ground.settings.database is not None:
        raise NotAllowed("This database is on a server of your own: upgrade it by its own means.")
    plan = planned(private_home(ground.settings), configured)
    if plan is None:
        version = find(configured).version
        ground.terminal.done(
            f"There is nothing to do: data and programs are of PostgreSQL {version}.",
            version=version,
            kept=None,
        )
        return
    try:
        with ground.telling(f"moving all data to PostgreSQL {plan.new.version}", lambda: 0):
            await carry_out(ground.reactor, plan)
    except InUse:
        raise NotAllowed("A gateway runs on this data directory: stop it first.") from None
    except (PostgresUnusable, OSError) as error:
        raise Ended(f"Nothing has changed: {error}") from None
    ground.terminal.done(
        f"The data is of PostgreSQL {plan.new.version} now. As it was, it is kept in {plan.aside}:"
        " delete that when you need it no more.",
        version=plan.new.version,
        kept=str(plan.aside),
    )
