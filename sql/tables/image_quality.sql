-- Registers image_quality with Athena; the columns come from the Delta log.
-- Grain: an image whose sources were extracted.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.image_quality
LOCATION '${lake}/image_quality/'
TBLPROPERTIES ('table_type' = 'DELTA');
