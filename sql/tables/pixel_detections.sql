-- Registers pixel_detections with Athena; the columns come from the Delta log.
-- Grain: a source on one image that has no usable WCS.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.pixel_detections
LOCATION '${lake}/pixel_detections/'
TBLPROPERTIES ('table_type' = 'DELTA');
