-- Which hooks are known to take what is posted to them: an attempt alone does not say so.

ALTER TABLE hooks
    ADD COLUMN proven boolean NOT NULL DEFAULT false;  -- a post to this URL was taken

UPDATE hooks SET proven = true WHERE failing_since IS NULL AND last_delivery > 0;
