-- What an operator allows one org; an org without a row is held to the settings.

CREATE TABLE org_limits (
    org_id               text PRIMARY KEY REFERENCES orgs ON DELETE CASCADE,
    -- null: as the settings say; 0, or an empty list: no limit
    max_stored           bigint,        -- messages, of both directions
    max_queued           bigint,        -- tickets that wait
    max_sends_per_minute bigint,        -- tickets
    to_prefixes          text[],        -- with one of these a ticket's number must begin
    queue_ttl            bigint         -- seconds that a ticket may wait
);
CREATE INDEX org_limits_queue_ttl ON org_limits (org_id) WHERE queue_ttl > 0;
