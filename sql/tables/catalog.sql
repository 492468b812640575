-- Registers ${catalog} with Athena; the columns come from the Delta log.
-- Grain: a catalog row.
-- Parameters: ${database}, ${lake}, ${catalog}.
CREATE EXTERNAL TABLE ${database}.${catalog}
LOCATION '${lake}/${catalog}/dataset/'
TBLPROPERTIES ('table_type' = 'DELTA');
