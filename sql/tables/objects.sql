-- Registers objects with Athena; the columns come from the Delta log.
-- Grain: an object merged over bands and epochs.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.objects
LOCATION '${lake}/objects/dataset/'
TBLPROPERTIES ('table_type' = 'DELTA');
