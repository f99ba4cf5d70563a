-- version --
-- Whether the database answers, and which it is.
SELECT current_setting('server_version')

-- durability --
-- The settings on which it depends whether a commit survives a loss of power.
SELECT
    current_setting('fsync'),
    current_setting('full_page_writes'),
    current_setting('synchronous_commit')
