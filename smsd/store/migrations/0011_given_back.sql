-- A phone that keeps a ledger may give a ticket back: what is cancelled may have been pushed.

ALTER TABLE messages DROP CONSTRAINT messages_lifecycle;
ALTER TABLE messages ADD CONSTRAINT messages_lifecycle CHECK (
    CASE direction
    WHEN 'in' THEN status = 'received' AND sim_key IS NULL AND ref IS NULL AND attempts = 0
    WHEN 'out' THEN sim_key IS NOT NULL AND ref IS NOT NULL AND dedupe IS NULL AND
        CASE status
        WHEN 'queued'    THEN sent_at IS NULL AND error IS NULL
        WHEN 'sending'   THEN sent_at IS NULL AND error IS NULL
                              AND attempts >= 1 AND session_id IS NOT NULL
                              AND handed_at IS NOT NULL
        -- With an error: it went out and did not arrive.
        WHEN 'sent'      THEN sent_at IS NOT NULL AND (error IS NULL OR receipt IS TRUE)
                              AND attempts >= 1
        WHEN 'failed'    THEN sent_at IS NULL AND error IS NOT NULL
        WHEN 'cancelled' THEN sent_at IS NULL AND error IS NULL AND (attempts = 0 OR ledger)
        WHEN 'expired'   THEN sent_at IS NULL AND error IS NULL AND expires_at IS NOT NULL
        WHEN 'delivered' THEN sent_at IS NOT NULL AND error IS NULL AND attempts >= 1
                              AND receipt IS TRUE AND delivered_at IS NOT NULL
        ELSE false
        END
    ELSE false
    END
);
