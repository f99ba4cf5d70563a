"""The peer: the same calls on FastAPI, uvicorn and asyncpg, as a good engineer would write them.

One process, a pool, one INSERT a request that is committed before the answer; secrets under
argon2id, remembered by an HMAC; the phones' sockets in memory, a frame as soon as the ticket is
stored, the result committed when it comes. Answers go through declared models, which is FastAPI's
fastest road. It is a yardstick for speed only and promises less: no retries folded, no ids in
commit order, no lock, no resuming, one node.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import asyncpg
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from fastapi import FastAPI, Header, HTTPException, Query, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field

SCHEMA = """
CREATE TABLE IF NOT EXISTS orgs (org_id text PRIMARY KEY, secret_hash text NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id text NOT NULL,
    direction text NOT NULL,
    status text NOT NULL,
    address text NOT NULL,
    body text NOT NULL,
    sim_slot integer,
    sim_number text,
    device_ts bigint,
    device_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz
);
CREATE INDEX IF NOT EXISTS messages_org ON messages (org_id, id);
"""
ARRIVED = """
INSERT INTO messages
    (org_id, direction, status, address, body, sim_slot, sim_number, device_ts, device_id)
VALUES ($1, 'in', 'received', $2, $3, $4, $5, $6, $7)
"""
TICKET = """
INSERT INTO messages (org_id, direction, status, address, body, sim_number)
VALUES ($1, 'out', $2, $3, $4, $5) RETURNING id
"""
RESULT = """
UPDATE messages SET status = $3, sent_at = now()
WHERE org_id = $1 AND id = $2 AND direction = 'out'
"""
PAGE = """
SELECT id, direction, address, body, sim_slot, sim_number, status, device_ts, created_at, sent_at
FROM messages WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3
"""

hasher = PasswordHasher()
key = secrets.token_bytes(32)
remembered: dict[str, bytes] = {}
phones: dict[str, list[WebSocket]] = {}
pool: asyncpg.Pool


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    global pool
    pool = await asyncpg.create_pool(min_size=10, max_size=10)
    await pool.execute(SCHEMA)
    yield
    await pool.close()


app = FastAPI(lifespan=lifespan)


class Sms(BaseModel):
    address: str
    body: str
    date: int | None = None
    sim_slot: int | None = None
    sim_number: str | None = None
    id: str | None = None


class Delivery(BaseModel):
    org_id: str
    secret_key: str
    messages: list[Sms] = Field(max_length=5000)


class Stored(BaseModel):
    ok: bool = True
    org_id: str
    stored: int


class Draft(BaseModel):
    to: str
    body: str = Field(min_length=1, max_length=1600)
    sim: str | None = None


class Result(BaseModel):
    id: int
    to: str
    status: str


class Accepted(BaseModel):
    ok: bool = True
    device_online: bool
    queued: int
    results: list[Result]


class Message(BaseModel):
    id: int
    direction: str
    address: str
    body: str
    sim_slot: int | None
    sim_number: str | None
    status: str
    device_ts: int | None
    created_at: datetime
    sent_at: datetime | None


class Page(BaseModel):
    org_id: str
    count: int
    messages: list[Message]


def seal(org_id: str, secret: str) -> bytes:
    return hmac.digest(key, f"{org_id}\0{secret}".encode(), "sha256")


async def check(org_id: str, secret: str) -> None:
    sealed = seal(org_id, secret)
    known = remembered.get(org_id)
    if known is not None and hmac.compare_digest(known, sealed):
        return
    stored = await pool.fetchval("SELECT secret_hash FROM orgs WHERE org_id = $1", org_id)
    if stored is None:
        raise HTTPException(401)
    try:
        await asyncio.to_thread(hasher.verify, stored, secret)
    except VerifyMismatchError:
        raise HTTPException(401) from None
    remembered[org_id] = sealed


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/webhook")
async def webhook(delivery: Delivery) -> Stored:
    await check(delivery.org_id, delivery.secret_key)
    rows = [
        (delivery.org_id, m.address, m.body, m.sim_slot, m.sim_number, m.date, m.id)
        for m in delivery.messages
    ]
    if len(rows) == 1:
        await pool.execute(ARRIVED, *rows[0])
    elif rows:
        await pool.executemany(ARRIVED, rows)
    return Stored(org_id=delivery.org_id, stored=len(rows))


@app.get("/messages/{org_id}")
async def messages(
    org_id: str,
    x_secret_key: Annotated[str, Header()],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    since_id: int = 0,
) -> Page:
    await check(org_id, x_secret_key)
    rows = await pool.fetch(PAGE, org_id, since_id, limit)
    found = [Message.model_construct(**row) for row in rows]
    return Page.model_construct(org_id=org_id, count=len(found), messages=found)


@app.post("/send/{org_id}")
async def send(org_id: str, draft: Draft, x_secret_key: Annotated[str, Header()]) -> Accepted:
    await check(org_id, x_secret_key)
    phone = next(iter(phones.get(org_id, ())), None)
    status = "sending" if phone else "queued"
    id_ = await pool.fetchval(TICKET, org_id, status, draft.to, draft.body, draft.sim)
    if phone is not None:
        frame = {"type": "send_sms", "id": id_, "to": draft.to, "body": draft.body}
        await phone.send_text(json.dumps({**frame, "sim": draft.sim}))
    result = Result(id=id_, to=draft.to, status=status)
    return Accepted(device_online=phone is not None, queued=1, results=[result])


@app.websocket("/websocket")
async def websocket(socket: WebSocket, org_id: str, secret_key: str) -> None:
    await check(org_id, secret_key)
    await socket.accept()
    phones.setdefault(org_id, []).append(socket)
    await socket.send_text(json.dumps({"type": "connected", "org_id": org_id}))
    try:
        while True:
            await heard(socket, org_id, json.loads(await socket.receive_text()))
    except WebSocketDisconnect:
        pass
    finally:
        phones[org_id].remove(socket)


async def heard(socket: WebSocket, org_id: str, frame: dict[str, Any]) -> None:
    match frame["type"]:
        case "send_result":
            status = "sent" if frame["success"] else "failed"
            await pool.execute(RESULT, org_id, frame["id"], status)
        case "sims":
            ack = {"type": "sims_ack", "count": len(frame["sims"])}
            await socket.send_text(json.dumps(ack))
        case "ping":
            await socket.send_text('{"type":"pong"}')
