"""The message that a webhook sends for an event, and its signature. Pure."""

import hashlib
import hmac
import json

from ..storage.tables import Row


def signed_message(row: Row, now_s: int) -> tuple[dict[str, str], bytes]:
    """(headers, body) of the POST for an audit row with its webhook's `secret`.

    `Ioto-Signature` is `t=SECONDS,v1=HEX`: the HMAC-SHA-256 of the seconds, a dot and the body, with the secret as key.
    """
    fields = {
        **{name: row[name] for name in ("id", "at_s", "who", "action", "subject")},
        "detail": json.loads(row["detail"]),
    }
    body = json.dumps(fields, separators=(",", ":")).encode()
    signature = hmac.digest(row["secret"].encode(), b"%d.%s" % (now_s, body), hashlib.sha256).hex()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "ioto-cloud",
        "Ioto-Event": row["action"],
        "Ioto-Signature": "t=%d,v1=%s" % (now_s, signature),
    }
    return headers, body
