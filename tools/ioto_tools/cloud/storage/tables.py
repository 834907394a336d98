"""The tables as SQLAlchemy metadata; migrate.py creates them. Times are Unix seconds."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

Row = dict[str, Any]  # a row: {column: value}
AnyRow = Row | RowMapping  # the same, or SQLAlchemy's own row, which is read-only

metadata = MetaData()
# Ids compare byte by byte, whatever the locale of the database, so that ids with the same prefix are adjacent.
DEVICE = String(128).with_variant(String(128, collation="C"), "postgresql")
# PostgreSQL's INTEGER has 32 bits, too few for seconds after 2038. SQLite's has 64, and only INTEGER autoincrements.
LONG = BigInteger().with_variant(Integer, "sqlite")
WHO = String(64).with_variant(String(128), "postgresql")


def _where_set(column: str) -> Row:
    """The options of an index that contains only rows in which the column is not null."""
    return {dialect + "_where": text(column + " IS NOT NULL") for dialect in ("sqlite", "postgresql")}


products = Table(
    "products",
    metadata,
    Column("id", String(64), primary_key=True),  # in ioto.json of every board of the product
    Column("name", String(64), nullable=False, unique=True),
    Column("created_s", LONG, nullable=False),
    Column("by_hand", Boolean, nullable=False),  # its devices get no token before `ioto device claim`
    Column("keep_images", Integer),  # number of releases whose images are kept (retention.py); null: all
    # Maximum number of deltas of a release; 0: only a compressed file; null: no packed files.
    Column("packed_bases", Integer, default=3),
)

releases = Table(
    "releases",
    metadata,
    Column("id", String(26), primary_key=True),  # `update` on the wire
    Column("product", String(64), ForeignKey("products.id"), nullable=False),
    Column("version", String(128), nullable=False),
    # The version without build metadata, which SemVer compares. Unique within a product.
    Column("precedence", String(128), nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("size", LONG, nullable=False),
    Column("description", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_s", LONG, nullable=False),
    Column("policy", Text, nullable=False),
    Column("limit", Integer),  # devices in total; null: no limit, also for the terms below
    Column("percentage", Float, nullable=False),
    Column("rate", Integer),  # devices in any `period_s`
    Column("period_s", Integer),
    Column("start_s", LONG),
    Column("end_s", LONG),
    Column("stop_percent", Float),  # of the devices that have finished, once at least `stop_after` have
    Column("stop_after", Integer),
    Column("manifest", Text),  # JSON: the signed text, and its signature in base64; null: not signed
    Column("state", String(16), nullable=False),  # selection.RELEASE_STATES
    Column("taken", Integer, nullable=False),  # slots taken, including those in `leases`
    Column("counts", Text, nullable=False),  # JSON, see grants.py
    # A device known for less time gets no slot of a release with a limit or rate, and does not count for the stop rule.
    Column("age_s", Integer, nullable=False, default=0),
    Column("chip", Integer),  # chip id of the image; null: not an ESP chip, or published before this column existed
    # Hex of the image's first 24 bytes, which contain the supported chip revisions; null: as for `chip`.
    Column("head", String(48)),
    Column("archived_s", LONG),  # when it was archived (deletion.py): its image is deleted, its state is cancelled
    Column("stages", Text),  # text for rules/stages.py, like `gate`; null: no stages
    Column("gate", Text),
    Column("stage", Integer),  # this and the next three: see rules/stages.py
    Column("stage_s", LONG),
    Column("stage_finished", Integer),
    Column("held", Boolean, nullable=False, default=False),
    # What devices are told about it: one of terms.KINDS, what is new, a link to a security advisory.
    Column("kind", String(16), nullable=False, default="feature"),
    Column("notes", Text, nullable=False, default=""),
    Column("advisory", Text, nullable=False, default=""),
    # It is not offered before its packed files are made, or selection.PACKING_S after `created_s`.
    Column("waits_for_packed", Boolean, nullable=False, default=False),
    Column("no_defer_after_s", LONG),  # from this time on, devices do not postpone it
    UniqueConstraint("product", "precedence", name="uq_releases_precedence"),
)

# Packed files of releases (docs/formats.md).
packed_files = Table(
    "packed_files",
    metadata,
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    # SHA-256 in hex of the image from which the delta is made; empty: a compressed file.
    Column("base", String(64), primary_key=True),
    Column("state", String(16), nullable=False),  # waiting, made or failed
    Column("checksum", String(64)),  # of the packed file, with the envelope; null: not made yet, like `size`
    Column("size", LONG),
    Column("reason", Text, nullable=False, default=""),  # why it failed
    Column("devices", Integer, nullable=False, default=0),  # that ran the base when the file was planned
    Column("made_s", LONG),
    Column("lease_s", LONG),  # a worker is making it until then
    Column("tries", Integer, nullable=False, default=0),  # number of workers that began it and have not ended it
    Column("failures", Integer, nullable=False, default=0),  # number of devices on which it has failed
)

# Servers that make packed files (packing/service.py).
packers = Table(
    "packers",
    metadata,
    Column("server", String(16), primary_key=True),
    Column("until_s", LONG, nullable=False),  # the server runs until then, unless it renews this
)

# Public keys that may have signed releases of a product (signing_keys.py).
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("product", String(64), ForeignKey("products.id"), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),  # SHA-256 of the key's DER form
    Column("public", Text, nullable=False),  # PEM
    Column("added_s", LONG, nullable=False),
)

# Images that are being deleted, because no release has them any more (image_deletion.py).
image_deletions = Table(
    "image_deletions",
    metadata,
    Column("checksum", String(64), primary_key=True),
    Column("until_s", LONG, nullable=False),  # after this, any worker may complete the deletion
)

devices = Table(
    "devices",
    metadata,
    # The key by which other tables refer to the device: random, or the id if the device is older than revision 0010.
    Column("key", DEVICE, primary_key=True),
    Column("id", DEVICE, nullable=False),  # sent by the device; unique within a product
    Column("product", String(64), ForeignKey("products.id"), nullable=False),
    Column("version", String(128)),  # of the last check-in; null before the first
    Column("properties", Text, nullable=False),  # JSON, the whole last check-in
    Column("registered_s", LONG, nullable=False),  # last registration
    Column("registrations", Integer, nullable=False),
    Column("seen_s", LONG),  # last check-in
    Column("next_s", Integer),  # planned seconds from the last check-in to the next; null: not sent
    Column("interval_s", LONG),  # between its last check-ins, as observed by the cloud
    Column("checkins", Integer, nullable=False),
    Column("unknown_reports", Integer, nullable=False),  # number of reports about unknown updates
    Column("removed_s", LONG),
    Column("claimed", Boolean, nullable=False),
    Column("pin", String(128)),  # the only version it is offered
    Column("first_s", LONG, nullable=False, default=0),  # its first registration
    # An operator has created or claimed it, so it counts for the stop rule at any age.
    Column("vouched", Boolean, nullable=False, default=False),
    # An operator has claimed it, and it has not registered and used its new token since then.
    Column("awaited", Boolean, nullable=False, default=False),
    Column("address", String(64), nullable=False, default=""),  # of the last registration
    Column("keeps", Boolean, nullable=False, default=False),  # known to keep its token when it restarts
    Column("reported_s", LONG),  # last report
    Column("refused", Integer, nullable=False, default=0),  # number of refused registrations with its id
    Column("refused_s", LONG),  # time of the last one
    Column("refused_from", String(64), nullable=False, default=""),  # address of the last one
    Column("booted_s", LONG),  # when it started, according to its last check-in; null: not sent
    # Number of signs that several boards share its id, see shared_ids.py.
    Column("mixed", Integer, nullable=False, default=0),
    Column("mixed_s", LONG),  # time of the last sign
    Column("shared_s", LONG),  # when it was marked as shared
    Index("ix_devices_id", "id", "product", unique=True),
    Index("ix_devices_product", "product", "removed_s", "id"),
    Index("ix_devices_first", "product", "first_s"),
    Index("ix_devices_shared", "shared_s", **_where_set("shared_s")),
    Index("ix_devices_refused", "refused_s", **_where_set("refused_s")),
)

tokens = Table(
    "tokens",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256; the token itself is not stored
    Column("device", String(128), ForeignKey("devices.key"), nullable=False),
    Column("created_s", LONG, nullable=False),
    Column("used_s", LONG),  # first use; null: not used yet
    Column("replaces", Boolean, nullable=False),  # its first use ends the device's other tokens
    Column("rotate", Boolean, nullable=False),  # the device gets a new token at its next check-in
    Column("origin", String(16), nullable=False, default="registered"),  # tokens.ORIGINS
    # SHA-256 of the address and properties of the registration.
    Column("asked", String(64), nullable=False, default=""),
    Column("ended_s", LONG),  # when another token replaced it
    Column("late_s", LONG),  # its first use after it was replaced
    Index("ix_tokens_device", "device"),
)

reports = Table(
    "reports",
    metadata,
    Column("device", String(128), ForeignKey("devices.key"), primary_key=True),
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("success", Boolean, nullable=False),
    Column("reason", String(256), nullable=False),
    Column("version", String(128)),
    Column("received_s", LONG, nullable=False),  # when it first arrived
    Column("times", Integer, nullable=False),  # how often the same report arrived
    Index("ix_reports_received", "received_s"),  # to delete the oldest
)

# The last failures of each device, with what it sent about them (rollout/failures.py).
failures = Table(
    "failures",
    metadata,
    Column("device", String(128), ForeignKey("devices.key"), primary_key=True),
    Column("event", String(64), primary_key=True),  # the release and the attempt, or a hash of a crash
    Column("release", String(26), ForeignKey("releases.id")),  # null: a crash of a version that is no release
    Column("version", String(128)),  # the program that crashed; null: a failure of an update
    Column("attempt", Integer, nullable=False),  # 0: a crash
    Column("state", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("cause", String(200), nullable=False),  # failures with equal reason and cause are a group
    Column("reset", String(16), nullable=False),
    Column("trace", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("at_s", LONG, nullable=False),
    Index("ix_failures_release", "release", "reason", "cause", "device", "at_s"),
    Index("ix_failures_at", "at_s"),  # to delete the oldest
)

# A device that was offered a release, with its rollout slot.
grants = Table(
    "grants",
    metadata,
    Column("device", String(128), ForeignKey("devices.key"), primary_key=True),
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    Column("version", String(128), nullable=False),  # the version that the device ran when it got the offer
    Column("tries", Integer, nullable=False),  # how often it was offered
    Column("attempt", Integer, nullable=False),  # the device's own count of attempts, from its last report
    Column("state", String(16), nullable=False),  # a state of update_states.TABLE
    Column("ended", String(16)),  # the state in which the last attempt ended; still counted during a new attempt
    Column("counted", Boolean, nullable=False, default=False),  # `ended` is included in the release's counts
    Column("granted_s", LONG, nullable=False),  # when the slot was taken; 0: no slot (update_states.WITHDRAWN)
    Column("offered_s", LONG, nullable=False),  # the last offer; different for all grants of a device
    Column("changed_s", LONG, nullable=False),
    Column("retry", Integer, nullable=False, server_default="0"),  # how often an operator requested another try
    Column("file", String(64)),  # base of the packed file that it was offered; null: the release's own file
    Column("whole", Boolean, nullable=False, default=False),  # a packed file failed on it: no other is offered
    Index("ix_grants_release", "release", "granted_s"),
    Index("ix_grants_stands", "release", "state"),
    Index("ix_grants_state", "state", "changed_s"),
)

# Rollout slots of a release that a worker may grant without coordination with the others (leases.py).
leases = Table(
    "leases",
    metadata,
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    Column("worker", String(32), primary_key=True),
    Column("places", Integer, nullable=False),
    Column("until_s", LONG, nullable=False),  # after this, any worker may return the slots
)

# Actions of operators, and of the cloud itself. Sent to webhooks.
audit = Table(
    "audit",
    metadata,
    Column("id", LONG, primary_key=True),
    Column("at_s", LONG, nullable=False),
    Column("who", WHO, nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(128), nullable=False),  # id of a device, product or update
    Column("detail", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)

# Changed data that workers must read again (change_log.py).
changes = Table(
    "changes",
    metadata,
    Column("seq", LONG, primary_key=True),
    Column("device", String(128)),  # its key; null: the products and releases
    Column("at_s", LONG, nullable=False),
    sqlite_autoincrement=True,
)

# Named policies.
groups = Table(
    "groups",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("policy", Text, nullable=False),
)

link_keys = Table(
    "link_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("secret", String(64), nullable=False),  # hex; signs links to images
    Column("created_s", LONG, nullable=False),
)

operators = Table(
    "operators",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the token
    Column("name", String(64), nullable=False, unique=True),
    Column("scope", String(16), nullable=False),  # read, publish or admin: each includes the scopes before it
    Column("created_s", LONG, nullable=False),
    Column("expires_s", LONG),  # null: never
    Column("products", Text),  # JSON list of the only products (ids) that it shows and changes; null: all
)

# Operators who are signed in to the web page.
sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the cookie
    Column("operator", String(64), ForeignKey("operators.hash", ondelete="CASCADE"), nullable=False),
    Column("expires_s", LONG, nullable=False),
)

# Samples of the states of a release's devices over time, for the chart on the web page.
samples = Table(
    "samples",
    metadata,
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    Column("at_s", LONG, primary_key=True),
    Column("counts", Text, nullable=False),  # JSON, {state: devices}
)

# Numbers of a product's devices over time (rollout/fleet_samples.py).
fleet_samples = Table(
    "fleet_samples",
    metadata,
    Column("product", String(64), ForeignKey("products.id"), primary_key=True),
    Column("at_s", LONG, primary_key=True),
    Column("counts", Text, nullable=False),  # JSON
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", String(64), nullable=False),  # signs the posts
    Column("wanted", Text, nullable=False),  # actions of audit.py, separated by spaces; empty: all
    Column("created_s", LONG, nullable=False),
    Column("delivered_s", LONG),  # the last success
    Column("error", String(256), nullable=False),  # of the last try; empty after a success
)

# Events that are still to be delivered to a webhook.
deliveries = Table(
    "deliveries",
    metadata,
    Column("webhook", String(16), ForeignKey("webhooks.id"), primary_key=True),
    Column("event", LONG, ForeignKey("audit.id"), primary_key=True),
    Column("tries", Integer, nullable=False),
    # The event is not posted before this time. A worker that takes the event sets `due_s` to the end of its lease.
    Column("due_s", LONG, nullable=False),
    Index("ix_deliveries_due", "due_s"),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
