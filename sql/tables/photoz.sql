-- Registers photoz with Athena; the columns come from the Delta log.
-- Grain: an estimate of the redshift of a table's object by one method.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.photoz
LOCATION '${lake}/photoz/dataset/'
TBLPROPERTIES ('table_type' = 'DELTA');
