"""The serverless tier in this process: the same function and table, on any S3, without Lambda and Athena."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from astrolake.batch_processing.aws import aws_errors, make_client
from astrolake.batch_processing.invoke import Handler
from astrolake.batch_processing.upload_batch import process_event
from astrolake.batch_processing.upload_function import UploadProcessor, UploadSettings
from astrolake.lake.glue_parquet import parquet_entry
from astrolake.schema import SOURCES

if TYPE_CHECKING:
    import boto3


def local_handler(settings: UploadSettings, session: boto3.session.Session | None = None) -> Handler:
    """Return a handler that processes images in this process, as the Lambda function does.

    Parameters
    ----------
    settings : UploadSettings
        As the function's environment gives them.
    session : boto3 Session
    """
    processor = UploadProcessor(settings, session)
    return lambda event: process_event(event, processor)


def ensure_sources_table(settings: UploadSettings, session: boto3.session.Session | None = None) -> bool:
    """Enter the table of sources into the Glue catalog where it is missing, and return whether it was.

    On AWS the stack does this.

    Raises
    ------
    AstrolakeError
        When AWS refuses.
    """
    client = make_client("glue", session)
    location = f"s3://{settings.catalog_bucket}/{settings.catalog_prefix.strip('/')}/"
    with aws_errors(f"enter {settings.database}.{settings.table} into the Glue catalog"):
        with suppress(client.exceptions.AlreadyExistsException):
            client.create_database(DatabaseInput={"Name": settings.database})
        entry = parquet_entry(SOURCES, location) | {"Name": settings.table}
        try:
            client.create_table(DatabaseName=settings.database, TableInput=entry)
        except client.exceptions.AlreadyExistsException:
            return False
    return True
