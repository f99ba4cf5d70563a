"""The one thing the private Postgres raises: it cannot be had, and what to do about that."""


class PostgresUnusable(RuntimeError):
    """The private Postgres cannot be used; the message says what is wrong and what to do."""


class InUse(PostgresUnusable):
    """Another process runs the private Postgres of this directory."""
