"""Entry point of the function for uploaded images; what it does is in `astrolake.batch_processing`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from astrolake.batch_processing.json_log import log_as_json
from astrolake.batch_processing.upload_batch import process_event
from astrolake.batch_processing.upload_function import UploadProcessor, UploadSettings

#: Fields of all log lines of a request.
_REQUEST: dict[str, str] = {}


def settings_of(environment: Mapping[str, str]) -> UploadSettings:
    """Return the settings that the function's environment variables give."""
    return UploadSettings(
        catalog_bucket=environment["CATALOG_BUCKET"],
        catalog_prefix=environment.get("CATALOG_PREFIX", "sources"),
        state_prefix=environment.get("STATE_PREFIX", "sources_state"),
        database=environment.get("GLUE_DATABASE", ""),
        table=environment.get("GLUE_TABLE", "sources"),
        alert_topic_arn=environment.get("ALERT_TOPIC_ARN", ""),
    )


@cache
def warm_processor() -> UploadProcessor:
    """Return the processor that all calls of this process share."""
    return UploadProcessor(settings_of(os.environ))


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Process the images of an event; see `process_event` for what is returned."""
    _REQUEST["request_id"] = getattr(context, "aws_request_id", "")
    log_as_json(os.environ.get("LOG_LEVEL", "INFO"), _REQUEST)

    def remaining_s() -> float:
        return float(context.get_remaining_time_in_millis()) / 1000.0 if context else float("inf")

    return process_event(event, warm_processor(), remaining_s)
