"""Where the gateway can be made to die: before and after every commit, push and acknowledgement.

Statements are found by asking the store which it has, so that a new one cannot be forgotten: it
must be named here, as a fail-point or as one on which nothing of a message hangs (a test says so).
How the gateway is made to die there is `faults.failing`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from smsd.store.statements import all_statements

#: Statements after whose commit somebody may rely on something, and what brings each about where
#: the ordinary traffic does not.
STATEMENTS: dict[str, str] = {
    "append_messages.in": "",
    "append_messages.out": "",
    "settle_results": "",
    "settle_deliveries": "",
    "cancel_ticket": "",
    "cancel_handed": "regret",
    "claim_tickets": "flap",
    "end_pushes": "flap",
    "push_again": "flap",
    "note_waits": "flap",
    "begin_sessions": "flap",
    "report_sims": "flap",
    "end_sessions": "flap",
    "create_org": "claim",
    "commit": "claim",
    "fail_unconfirmed_everywhere": "",
    "requeue_unconfirmed_everywhere": "resend",
    "refuse_given": "",
    "pass_times_everywhere": "",
    "note_post": "",
    "leave": "stop",
    "fence_batch": "sever",
}

#: Frames, and answers to calls. ``receipt`` is a phone's pong.
WIRE: dict[str, str] = {
    "push": "",
    "receipt": "",
    "inbound_ack": "",
    "result_ack": "",
    "answer.webhook": "",
    "answer.send": "",
}

#: Statements that are no fail-points, each with the reason.
HARMLESS: dict[str, str] = {
    "version": "reads",
    "durability": "reads",
    "census_everywhere": "reads",
    "read_batch": "reads",
    "read_handed": "reads",
    "hasten": "a setting of its transaction, gone with it",
    "find_call": "reads",
    "read_ticket": "reads",
    "read_reply": "reads",
    "prune_calls_everywhere": "throws away what nobody asks for any more",
    "prune_batches_everywhere": "throws away what nobody asks for any more",
    "waiting_orgs": "reads",
    "read_messages": "reads",
    "find_org": "reads",
    "recall_address": "reads",
    "read_sims": "reads",
    "read_limits": "reads",
    "recall_keys": "reads",
    "read_keys": "reads",
    "read_budget": "reads",
    "ended_keys": "reads",
    "use_key": "when a key was used last; nothing of a message",
    "make_key": "which keys are good; nothing of a message",
    "delete_key": "which keys are good; nothing of a message",
    "due_hooks_everywhere": "reads",
    "lease_hooks": "who posts; what a lease held back is posted by the next",
    "let_hook_go": "who posts; what a lease held back is posted by the next",
    "orgs_with_hooks_everywhere": "reads",
    "orgs_with_deliveries_everywhere": "reads",
    "prune_deliveries": "throws away what came of posts of events that are no more",
    "read_hooks": "reads",
    "read_signing": "reads",
    "read_deliveries": "reads",
    "make_hook": "of one transaction, whose commit counts; which hooks there are",
    **dict.fromkeys(
        ("change_hook", "rotate_hook", "delete_hook", "replay_hook"),
        "what becomes of a hook from then on, and may be said again; nothing of a message",
    ),
    "spend_segments": "what a key may send yet; at a death it stays spent, as the page says",
    "give_segments_back": "what a key may send yet; at a death it stays spent, as the page says",
    "org_usage": "reads",
    "count_messages": "reads",
    "count_orgs_everywhere": "reads",
    "orgs_with_ttl_everywhere": "reads",
    "orgs_by_ttl_everywhere": "reads",
    "hold_claims": "a lock of its transaction, gone with it",
    "hold_limits": "a lock of its transaction, gone with it",
    "hold_sims": "a lock of its transaction, gone with it",
    "read_uses": "reads",
    "read_turns": "reads",
    "give_back": "forgotten, a ticket counts at its SIM as if it had been sent, and another waits",
    "claim_in_turn": "of one transaction, whose commit counts; of paced SIMs, which tests of their "
    "own kill",
    "set_opt_outs": "an org's; how it keeps to STOP from then on, nothing of a message",
    "opt_out": "an org's; it says so again where it heard nothing",
    "lift_opt_out": "an org's; it says so again where it heard nothing",
    "read_opt_outs": "reads",
    "would_refuse": "reads",
    "owing_everywhere": "reads",
    "take_owed": "of one transaction with append_messages, whose commit counts",
    "set_paces": "an org's; how fast it sends from then on, nothing of a message",
    "set_limits": "an operator's; what is allowed from then on, nothing of a message",
    "expire_tickets": "of limits, of which this campaign has none; done again where it ended",
    "find_owed": "reads",
    "listen": "says that somebody reads; a reader that hears nothing says it again",
    "listen_on": "says that somebody reads still, and is said again",
    "read_bounds": "reads",
    "read_events": "reads",
    "orgs_with_events_everywhere": "reads",
    "prune_events": "throws away what is too old, and goes on where it ended",
    "beat": "says only that the node lives; its silence is noticed by others",
    "sweep_nodes_everywhere": "of other nodes, of which this campaign has none",
    "create_counter": "of one transaction with create_org, whose commit counts",
    "renew_hmac": "argon2id vouches for the secret as before",
    "hold_lock": "a lock of its transaction, gone with it",
    "reserve_failure": "counts wrong secrets; nothing of a message",
    "lock_org": "counts wrong secrets; nothing of a message",
    "unlock_org": "counts wrong secrets; nothing of a message",
    "forgive_address": "counts wrong secrets; nothing of a message",
    "know_address": "which addresses are known; nothing of a message",
    "prune_failures_everywhere": "throws away what no longer counts",
    "prune_addresses_everywhere": "throws away what no longer counts",
    **dict.fromkeys(
        (
            "closed_orgs",
            "describe_org",
            "find_ticket",
            "older_statements",
            "open_tickets_everywhere",
            "orgs_after_everywhere",
            "read_orgs_everywhere",
            "read_phones_everywhere",
            "schema_is_there",
            "schema_version",
            "server_major",
            "use_everywhere",
        ),
        "reads, for the operator",
    ),
    **dict.fromkeys(
        (
            "erase_messages",
            "erase_events",
            "erase_deliveries",
            "forget_address",
            "forget_events",
            "prune_messages",
        ),
        "deletes a batch of what is to go, and goes on where it ended",
    ),
    **dict.fromkeys(
        ("delete_org", "forget_failures", "requeue_ticket", "fail_ticket"),
        "an operator's, of which this campaign has none; tried by tests of its own",
    ),
    "replace_secret": "which secret is right; nothing of a message",
    "hold_counter": "a lock of its transaction, gone with it",
    **dict.fromkeys(
        ("move_counters_everywhere", "forget_nodes_everywhere", "fail_pending_everywhere"),
        "a restore's, which is one transaction while no gateway runs; tried by tests of its own",
    ),
}


@dataclass(frozen=True, slots=True)
class FailPoint:
    """``needs`` is what brings it about where ordinary traffic does not."""

    when: str
    what: str
    needs: str

    @property
    def name(self) -> str:
        return f"{self.when}:{self.what}"


def all_points() -> list[FailPoint]:
    """Every one of them."""
    places = {**STATEMENTS, **WIRE}
    return [
        FailPoint(when, what, needs)
        for what, needs in places.items()
        for when in ("before", "after")
    ]


def unnamed() -> set[str]:
    """Statements of the store that are named nowhere here, and names that it does not have."""
    named = {what.partition(".")[0] for what in STATEMENTS} - {"commit"} | set(HARMLESS)
    return named ^ set(all_statements())
