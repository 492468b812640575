"""Spark schemas of the declared tables."""

from __future__ import annotations

from pyspark.sql import types as T

from astrolake.schema.model import Column, Table

_SPARK: dict[str, T.DataType] = {
    "int64": T.LongType(),
    "int32": T.IntegerType(),
    "float64": T.DoubleType(),
    "float32": T.FloatType(),
    "string": T.StringType(),
    "bool": T.BooleanType(),
    "timestamp": T.TimestampType(),
    "binary": T.BinaryType(),
}


def spark_type(column: Column) -> T.DataType:
    """Return the Spark type of a column."""
    scalar = _SPARK[column.element_type]
    return T.ArrayType(scalar) if column.is_list else scalar


def spark_schema(table: Table) -> T.StructType:
    """Return the schema of the stored columns; all nullable, as Spark reads Parquet."""
    return T.StructType([T.StructField(column.name, spark_type(column)) for column in table.columns])
