"""``smsd backup``: the whole database in a file, while the gateway runs.

The pepper is not in it, on purpose: beside the database it would be worth a guess at every
secret, and without it every secret works on.
"""

from __future__ import annotations

import os
from pathlib import Path

from smsd.opening import lent
from smsd.repair.declared import command
from smsd.repair.endings import Ended, NotAllowed, NotThere
from smsd.repair.ground import Ground
from smsd.store import overview
from smsd.store.dumps import dump
from smsd.store.placed import placed


@command("backup", "FILE", bare=True)
async def backup(ground: Ground, name: str) -> None:
    """Write everything that is stored into a new file, in pg_dump's custom format."""
    database, _ = await lent(ground.settings, ground.reactor, ground.stack)
    version = await overview.schema(database)
    if not version:
        raise NotThere("No gateway was ever started on this database: there is nothing to back up.")
    server, path = await ground.server(database), Path(name)
    try:
        with placed(path) as file:
            with ground.telling(f"bytes written to {name}", lambda: os.fstat(file).st_size):
                await dump(server, file)
            size = os.fstat(file).st_size
    except FileExistsError:
        raise NotAllowed(f"{name} is there already, and is not overwritten.") from None
    except OSError as error:
        raise Ended(f"{name} cannot be written: {error.strerror}.") from None
    ground.terminal.done(
        f"The backup is in {name}, {size:,} bytes.", file=name, bytes=size, version=version
    )
