-- Registers rejects with Athena; the columns come from the Delta log.
-- Grain: an input that could not be used.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.rejects
LOCATION '${lake}/rejects/'
TBLPROPERTIES ('table_type' = 'DELTA');
