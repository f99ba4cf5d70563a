-- version --
-- Whether the database answers, and which it is.
SELECT current_setting('server_version')
