"""Every metric of ours by its name: docs/metrics.md, the dashboard and the alerts rely on them.

None has a label for an org, a phone or a number: those are nobody's business, and too many. Of
the process itself (memory, CPU, descriptors, collections) prometheus_client tells.
"""

from __future__ import annotations

from smsd import __version__
from smsd.sight.metric import Metric, counter, gauge, histogram

_HTTP = (
    counter(
        "smsd_http_requests_total",
        "Requests answered by a route; a phone that connects is a 101.",
        lambda node: {
            (tally.method, tally.route, str(status)): number
            for tally in node.api.tallies
            for status, number in tally.statuses.items()
        },
        labels=("method", "route", "status"),
    ),
    histogram(
        "smsd_http_request_seconds",
        "From a request that was read whole to its answer, unless it waits for a message.",
        lambda node: {
            (tally.method, tally.route): tally.seconds
            for tally in node.api.tallies
            if tally.statuses
        },
        labels=("method", "route"),
    ),
    counter(
        "smsd_http_refused_total",
        "Answers to what no route takes, or what never became a request.",
        lambda node: {(str(s),): n for s, n in (node.api.strays + node.site.refusals).items()},
        labels=("status",),
    ),
    gauge(
        "smsd_http_connections",
        "Connections that speak HTTP now.",
        lambda node: {(): len(node.site.deadlines.watched())},
    ),
    gauge(
        "smsd_http_waiting",
        "Requests that wait for a message now, because they ask for that.",
        lambda node: {(): node.hearing.waiting},
    ),
    gauge(
        "smsd_event_streams",
        "Event streams that are open now.",
        lambda node: {(): len(node.streams)},
    ),
    counter(
        "smsd_event_streams_cut_total",
        "Event streams that were cut because their readers did not read.",
        lambda node: {(): node.streams.cut},
    ),
)

_MESSAGES = (
    counter(
        "smsd_messages_accepted_total",
        "Messages committed: in, as phones were told, and out, as agents were told.",
        lambda node: {("in",): node.inbox.taken, ("out",): node.outbox.accepted},
        labels=("direction",),
    ),
    gauge(
        "smsd_tickets",
        "Tickets of the whole database that have not ended; counted up to 100000.",
        lambda node: (
            {("queued",): found.queued, ("sending",): found.sending}
            if (found := node.census.counted)
            else {}
        ),
        labels=("status",),
    ),
    gauge(
        "smsd_tickets_paced",
        "Tickets that wait because the SIM of a phone here may not send more yet; up to 100000.",
        lambda node: {(): found.paced} if (found := node.census.counted) else {},
    ),
    gauge(
        "smsd_ticket_oldest_queued_seconds",
        "For how long the oldest ticket of the whole database has waited; 0 where none waits.",
        lambda node: {(): found.oldest or 0.0} if (found := node.census.counted) else {},
    ),
    counter(
        "smsd_results_total",
        "What phones said of tickets; repeated, ignored and unknown changed nothing.",
        lambda node: {(outcome,): n for outcome, n in node.results.outcomes.items()},
        labels=("outcome",),
    ),
    counter(
        "smsd_unconfirmed_total",
        "Tickets that no phone answered in time, by what became of them.",
        lambda node: {(status,): node.upkeep.given_up[status] for status in ("failed", "queued")},
        labels=("status",),
    ),
    counter(
        "smsd_undeliverable_total",
        "Tickets that a phone read again and again and never answered.",
        lambda node: {(): node.resumption.undeliverable},
    ),
)

_PHONES = (
    gauge("smsd_phones", "Phones on line.", lambda node: {(): len(node.roster)}),
    gauge(
        "smsd_phone_connections",
        "WebSocket connections, those included that have not said yet who they are.",
        lambda node: {(): len(node.links.links)},
    ),
    counter(
        "smsd_phone_arrivals_total",
        "Phones that came on line.",
        lambda node: {(): node.roster.arrivals},
    ),
    counter(
        "smsd_pushes_total",
        "Tickets written to phones.",
        lambda node: {(): node.attendance.pushes.pushes},
    ),
    counter(
        "smsd_redeliveries_total",
        "Tickets given to a phone again, because nobody knows what became of the first time.",
        lambda node: {(): node.attendance.pushes.again},
    ),
    histogram(
        "smsd_receipt_seconds",
        "From a push to its receipt; the count is that of receipts.",
        lambda node: {(): node.attendance.pushes.receipts},
    ),
    histogram(
        "smsd_result_seconds",
        "From a push to its result, committed.",
        lambda node: {(): node.attendance.pushes.results},
    ),
)

_DATABASE = (
    gauge(
        "smsd_postgres_up",
        "Whether the database answered, at most 5 seconds ago.",
        lambda node: {(): int(node.census.up)},
    ),
    gauge(
        "smsd_database_size_bytes",
        "The size of the whole database.",
        lambda node: {(): found.size} if (found := node.census.counted) else {},
    ),
    gauge(
        "smsd_pool_connections",
        "Connections of the pool to the database.",
        lambda node: {("busy",): node.database.busy, ("idle",): node.database.idle},
        labels=("state",),
    ),
    gauge(
        "smsd_pool_waiting",
        "Callers that wait for a connection.",
        lambda node: {(): node.database.waiting},
    ),
    histogram(
        "smsd_pool_wait_seconds",
        "How long callers waited for a connection; most not at all.",
        lambda node: {(): node.database.waits},
    ),
    counter(
        "smsd_pool_expired_total",
        "Calls of the database that were given up at their deadline.",
        lambda node: {(): node.database.expired},
    ),
    histogram(
        "smsd_batch_seconds",
        "How long a batch took, its commit included; the count is that of batches.",
        lambda node: {(lane.tally.name,): lane.tally.seconds for lane in node.lanes()},
        labels=("lane",),
    ),
    counter(
        "smsd_batch_rows_total",
        "Rows in batches.",
        lambda node: {(lane.tally.name,): lane.tally.rows for lane in node.lanes()},
        labels=("lane",),
    ),
    counter(
        "smsd_batch_failures_total",
        "Batches that the database refused or did not answer.",
        lambda node: {(lane.tally.name,): lane.tally.failures for lane in node.lanes()},
        labels=("lane",),
    ),
    gauge(
        "smsd_batch_waiting_rows",
        "Rows that wait for the next batch; a lane refuses more than 20000.",
        lambda node: {(lane.tally.name,): lane.waiting for lane in node.lanes()},
        labels=("lane",),
    ),
)

_DOOR = (
    counter("smsd_claims_total", "Orgs claimed.", lambda node: {(): node.doorman.claims}),
    counter(
        "smsd_wrong_secrets_total",
        "Wrong secrets for orgs that exist.",
        lambda node: {(): node.doorman.wrong_secrets},
    ),
    counter(
        "smsd_locks_total",
        "Locks of orgs that wrong secrets brought about.",
        lambda node: {(): node.doorman.locks},
    ),
    gauge(
        "smsd_argon2_waiting",
        "Secrets being hashed or waiting for it; more than 200 are refused.",
        lambda node: {(): node.hashing.waiting},
    ),
)

_PROCESS = (
    histogram(
        "smsd_reactor_lag_seconds",
        "How late a timer fires that is due four times a second.",
        lambda node: {(): node.lag},
    ),
    gauge("smsd_build_info", "Which smsd this is.", lambda _: {(__version__,): 1}, ("version",)),
)

METRICS: tuple[Metric, ...] = (*_HTTP, *_MESSAGES, *_PHONES, *_DATABASE, *_DOOR, *_PROCESS)
