-- Registers detections with Athena; the columns come from the Delta log.
-- Grain: a source on one image.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.detections
LOCATION '${lake}/detections/dataset/'
TBLPROPERTIES ('table_type' = 'DELTA');
