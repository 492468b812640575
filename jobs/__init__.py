"""The deployable jobs: each file is a spark-submit script and a Glue job of the same name."""
