-- Registers runs with Athena; the columns come from the Delta log.
-- Grain: a run of a job.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.runs
LOCATION '${lake}/runs/'
TBLPROPERTIES ('table_type' = 'DELTA');
