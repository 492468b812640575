-- Registers crossmatches_${left}_x_${right} with Athena; the columns come from the Delta log.
-- Grain: a match.
-- Parameters: ${database}, ${lake}, ${left}, ${right}.
CREATE EXTERNAL TABLE ${database}.crossmatches_${left}_x_${right}
LOCATION '${lake}/crossmatches/${left}_x_${right}/dataset/'
TBLPROPERTIES ('table_type' = 'DELTA');
