-- settle_deliveries --
-- Write down what phones heard of tickets for which that was asked: arrived, or not. Rows are
-- locked and found as in settle_results. A report that comes before the result says that the SMS
-- went out; that one arrived beats whatever was known before, that it did not only that it was sent.
-- Of several reports of one ticket that it arrived counts before all others, else the first.
WITH given AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(rows)s::json) AS g (
        ord integer, org_id text, id bigint, delivered boolean, at bigint, error_detail text,
        ref text
    )
), heard AS MATERIALIZED (
    @listening_of given
), held AS MATERIALIZED (
    SELECT m.*
    FROM (
        SELECT DISTINCT org_id, id
        FROM given
        WHERE (SELECT count(*) FROM heard) >= 0
        ORDER BY org_id, id
    ) AS g
    CROSS JOIN LATERAL (
        SELECT m.org_id, m.id, m.status, m.ref, m.error, m.receipt
        FROM messages AS m
        WHERE m.org_id = g.org_id AND m.id = g.id AND m.attempts >= 1
        FOR UPDATE
    ) AS m
), telling AS MATERIALIZED (
    SELECT DISTINCT ON (g.org_id, g.id) g.*
    FROM given AS g JOIN held AS h USING (org_id, id)
    WHERE h.receipt AND (g.ref IS NULL OR g.ref = h.ref)
        AND CASE WHEN g.delivered THEN h.status <> 'delivered'
            ELSE h.status IN ('queued', 'sending') OR (h.status = 'sent' AND h.error IS NULL) END
    ORDER BY g.org_id, g.id, g.delivered DESC, g.ord
), settled AS (
    UPDATE messages AS m
    SET status = CASE WHEN t.delivered THEN 'delivered' ELSE 'sent' END,
        error = CASE WHEN NOT t.delivered THEN 'undelivered' END,
        error_detail = CASE WHEN NOT t.delivered THEN t.error_detail END,
        sent_at = coalesce(m.sent_at, to_timestamp(t.at / 1000.0), clock_timestamp()),
        delivered_at = CASE WHEN t.delivered THEN
            coalesce(to_timestamp(t.at / 1000.0), clock_timestamp()) END
    FROM telling AS t
    WHERE m.org_id = t.org_id AND m.id = t.id
    RETURNING m.*
), told AS (
    @tell_of_tickets settled
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT g.ord,
    CASE WHEN t.ord IS NOT NULL THEN 'settled'
         WHEN h.id IS NULL THEN 'unknown'
         WHEN g.ref <> h.ref OR h.receipt IS NULL THEN 'ignored'
         ELSE 'repeated' END
FROM given AS g
LEFT JOIN held AS h USING (org_id, id)
LEFT JOIN telling AS t USING (ord)
