"""The log as JSON Lines, for programs that collect logs: one object for each event."""

import json
import logging
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object.

    Its fields are `time` (ISO 8601, UTC), `level`, `logger`, `process` (its id), `message`, and the fields that the
    call passes in `extra={"fields": {...}}`. A record of an exception also has the field `exception`, the traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_to_stderr(json: bool) -> None:
    """Log to standard error: text, or with `json` JSON Lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if json else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler])
