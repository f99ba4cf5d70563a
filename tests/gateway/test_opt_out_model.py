"""Numbers say STOP and START by any SIM while tickets are stored, claimed and pushed again, in any
order: on a real Postgres, each statement does what two sentences of the docs say, and no more."""

from __future__ import annotations

import json
import uuid
from itertools import count

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from life_model_postgres import Server, _Transaction, finished

from smsd.store import messages
from smsd.store.messages import NewMessage, Served
from smsd.store.statements import named

_ORGS = map("org-{}".format, count())
_NUMBERS = st.sampled_from(["1001", "1002"])
_SIMS = st.sampled_from(["71", "72"])
_ANY_SIM = st.none() | _SIMS
_WORDS = st.sampled_from(["STOP", "stop", "START", " unstop\n", "Quit", "hello"])
_STATE = "SELECT id, status, error FROM messages WHERE org_id = %s AND direction = 'out'"


class Consent(RuleBasedStateMachine):
    """What numbers have said, and what must have become of the tickets to them."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server, self._tx, self._org = server, _Transaction(server), next(_ORGS)
        self._said: set[tuple[str, str]] = set()
        self._to: dict[int, tuple[str, str | None]] = {}
        self._state: dict[int, str] = {}

    @initialize(scope=st.sampled_from([None, "org", "sim"]))
    def begin(self, scope: str | None) -> None:
        self._scope = scope
        self._server.ask(
            "INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)"
            " VALUES (%s, '', '', '')",
            [self._org],
        )
        self._server.ask(
            "INSERT INTO org_counters (org_id, opt_out_scope) VALUES (%s, %s)", [self._org, scope]
        )

    def _blocked(self, number: str, sim: str) -> bool:
        of_any = {by for who, by in self._said if who == number}
        if self._scope == "sim":
            return bool(of_any & {"", sim})
        return self._scope == "org" and bool(of_any)

    def _stored(self, row: NewMessage) -> int:
        row.ord = 0
        (id_,) = finished(messages.append(self._tx, [row])).values()
        return id_

    @rule(number=_NUMBERS, word=_WORDS, sim=_ANY_SIM)
    def say(self, number: str, word: str, sim: str | None) -> None:
        self._stored(
            NewMessage(
                org_id=self._org,
                status="received",
                direction="in",
                address=number,
                address_key=number,
                body=word,
                sim_digits=sim,
            )
        )
        if self._scope is None:
            return
        if word.strip().upper() in ("STOP", "QUIT"):
            self._said.add((number, sim or ""))
        elif word.strip().upper() in ("START", "UNSTOP"):
            lifted = {"", sim or ""}
            self._said = {
                (who, by)
                for who, by in self._said
                if who != number or (self._scope == "sim" and by not in lifted)
            }

    @rule(number=_NUMBERS, sim=_ANY_SIM, given=st.booleans())
    def send(self, number: str, sim: str | None, given: bool) -> None:
        """``given``: stored for a phone that has a place; its SIM is known."""
        given = given and sim is not None
        row = NewMessage(
            org_id=self._org,
            status="sending" if given else "queued",
            direction="out",
            address=number,
            address_key=number,
            body="hi",
            sim_digits=sim,
            sim_key=sim or "*",
            ref="r",
            attempts=int(given),
            session_id=str(uuid.uuid4()) if given else None,
            phone_id="?" if given else None,
        )
        id_ = self._stored(row)
        known = sim is not None or self._scope == "org"
        refused = known and self._blocked(number, sim or "")
        assert (id_ < 0) == refused
        self._to[abs(id_)] = (number, sim)
        self._state[abs(id_)] = "failed" if refused else row.status

    @rule(sim=_SIMS, places=st.integers(1, 3))
    def claim(self, sim: str, places: int) -> None:
        """A phone with this SIM takes what waits for it, and for anybody."""
        waits = [id_ for id_, status in self._state.items() if status == "queued"]
        turn = [id_ for id_ in waits if self._to[id_][1] in (None, sim)][:places]
        handed = finished(
            messages.claim(
                self._tx,  # type: ignore[arg-type] # it runs statements too
                self._org,
                serves=[Served(sim, sim_digits=sim), Served("*", sim_digits=sim)],
                session_id=str(uuid.uuid4()),
                phone_id="?",
                ledger=True,
                places=places,
            )
        )
        refused = [id_ for id_ in turn if self._blocked(self._to[id_][0], sim)]
        assert sorted(handed.ended) == refused
        assert [ticket.id for ticket in handed.tickets] == [i for i in turn if i not in refused]
        for id_ in turn:
            self._to[id_] = (self._to[id_][0], sim)
            self._state[id_] = "failed" if id_ in refused else "sending"

    @rule()
    def push_again(self) -> None:
        """The phones of all that is in doubt come back."""
        doubt = [id_ for id_, status in self._state.items() if status == "sending"]
        find = "SELECT id, session_id::text FROM messages WHERE org_id = %s AND status = 'sending'"
        held = [{"id": id_, "session_id": by} for id_, by in self._server.ask(find, [self._org])]
        assert sorted(row["id"] for row in held) == doubt
        how = {"org_id": self._org, "rows": json.dumps(held), "session_id": str(uuid.uuid4())}
        how |= {"phone_id": "?", "ledger": True, "max_attempts": 5, "detail": ""}
        self._server.fetch(named("push_again"), {**how, "batch_id": str(uuid.uuid4())})
        for id_ in doubt:
            number, sim = self._to[id_]
            if self._blocked(number, sim or ""):
                self._state[id_] = "failed"

    @invariant()
    def every_ticket_is_as_it_must_be(self) -> None:
        rows = self._server.ask(_STATE, [self._org])
        assert {id_: status for id_, status, _ in rows} == self._state
        for _, status, error in rows:
            assert error == ("opted_out" if status == "failed" else None)


def test_whatever_numbers_say_no_ticket_is_pushed_behind_a_stop_and_each_behind_a_start(
    conninfo: str,
) -> None:
    server = Server(conninfo)
    try:
        run_state_machine_as_test(
            lambda: Consent(server),
            settings=settings(
                max_examples=250,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        server.close()
