-- Purpose: what each job did: runs by outcome, rows, the last run and its duration.
-- Grain: a job.
-- Parameters: none.
SELECT
    job,
    count(*) AS n_runs,
    count_if(status = 'done') AS n_done,
    count_if(status = 'failed') AS n_failed,
    count_if(ended_at IS NULL) AS n_without_end,
    sum(rows_in) AS rows_in,
    sum(rows_out) AS rows_out,
    sum(rows_rejected) AS rows_rejected,
    max(started_at) AS last_started_at,
    max_by(status, started_at) AS last_status,
    max_by(date_diff('second', started_at, ended_at), started_at) AS last_seconds
FROM runs
GROUP BY job
ORDER BY job;
