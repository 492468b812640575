"""Log lines as JSON objects, which CloudWatch Logs Insights takes apart; redacted."""

from __future__ import annotations

import json
import logging
import sys
from typing import IO

from astrolake.redact import redact

#: Attribute of a log record that holds further fields of its line.
FIELDS = "fields"


class JsonFormatter(logging.Formatter):
    """One JSON object for each record: time, level, logger, message, further fields, error.

    Parameters
    ----------
    common : dict
        Fields of all lines, such as the identifier of a request; may be changed between lines.
    """

    def __init__(self, common: dict[str, str]) -> None:
        super().__init__()
        self._common = common

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted line of a record."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._common,
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, ensure_ascii=False, default=str))


def log_as_json(level: str, common: dict[str, str], stream: IO[str] | None = None) -> None:
    """Send what is logged below "astrolake" to a stream (stderr) as JSON lines, and nowhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(common))
    logger = logging.getLogger("astrolake")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
