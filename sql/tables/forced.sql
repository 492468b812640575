-- Registers forced with Athena; the columns come from the Delta log.
-- Grain: a position measured on one image.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.forced
LOCATION '${lake}/forced/dataset/'
TBLPROPERTIES ('table_type' = 'DELTA');
