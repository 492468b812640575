-- Registers images with Athena; the columns come from the Delta log.
-- Grain: an image HDU.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.images
LOCATION '${lake}/images/'
TBLPROPERTIES ('table_type' = 'DELTA');
