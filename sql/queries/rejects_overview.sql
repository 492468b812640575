-- Purpose: why inputs were rejected, most frequent first, with one example of each kind.
-- Grain: a job and kind of error.
-- Parameters: none.
SELECT
    job,
    error_type,
    count(*) AS n_rejects,
    count(DISTINCT run_id) AS n_runs,
    min(source) AS example_source,
    min_by(message, source) AS example_message
FROM rejects
GROUP BY job, error_type
ORDER BY n_rejects DESC, job ASC, error_type ASC;
