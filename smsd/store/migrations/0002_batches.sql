-- Writes that must not be guessed, so that one whose answer was lost can be looked up.

CREATE TABLE batches (
    batch_id uuid PRIMARY KEY,
    ids      bigint[],                  -- what it gave out; null: void, it stores nothing
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX batches_at ON batches (at);
