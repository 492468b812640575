-- Registers models with Athena; the columns come from the Delta log.
-- Grain: a trained model.
-- Parameters: ${database}, ${lake}.
CREATE EXTERNAL TABLE ${database}.models
LOCATION '${lake}/models/'
TBLPROPERTIES ('table_type' = 'DELTA');
