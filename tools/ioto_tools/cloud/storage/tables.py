"""The tables as SQLAlchemy sees them; migrations/ makes them. Times are Unix seconds."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()
# Ids compare byte by byte, in whatever language the database was made: those that begin alike are neighbours.
DEVICE = String(128).with_variant(String(128, collation="C"), "postgresql")
# An INTEGER of PostgreSQL has 32 bits: seconds end in 2038. SQLite has 64 in any, and counts up by itself in an INTEGER only.
LONG = BigInteger().with_variant(Integer, "sqlite")
WHO = String(64).with_variant(String(128), "postgresql")

products = Table(
    "products",
    metadata,
    Column("id", String(64), primary_key=True),  # stands in ioto.json of every board of the product
    Column("name", String(64), nullable=False, unique=True),
    Column("created_s", LONG, nullable=False),
    Column("by_hand", Boolean, nullable=False),  # a device of it gets no token before `ioto device claim`
)

releases = Table(
    "releases",
    metadata,
    Column("id", String(26), primary_key=True),  # `update` on the wire
    Column("product", String(64), ForeignKey("products.id"), nullable=False),
    Column("version", String(128), nullable=False),
    # The version without build metadata: what SemVer compares. No two releases of a product may be equal in it.
    Column("precedence", String(128), nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("size", LONG, nullable=False),
    Column("description", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_s", LONG, nullable=False),
    Column("policy", Text, nullable=False),
    Column("limit", Integer),  # devices in all; null: no limit, as below
    Column("percentage", Float, nullable=False),
    Column("rate", Integer),  # devices in any `period_s`
    Column("period_s", Integer),
    Column("start_s", LONG),
    Column("end_s", LONG),
    Column("stop_percent", Float),  # of those that ended, once `stop_after` did
    Column("stop_after", Integer),
    Column("manifest", Text),  # as signed, in base64 with its signature; null: not signed
    Column("state", String(16), nullable=False),  # selection.RELEASE_STATES
    Column("taken", Integer, nullable=False),  # places given away, those in `leases` among them
    Column("counts", Text, nullable=False),  # JSON, see grants.py
    Column("age_s", Integer, nullable=False, default=0),  # a device known for less gets none of its limited slots, and its outcome does not count
    Column("chip", Integer),  # chip id of the image; null: of no ESP chip, or published before this was kept
    Column("head", String(48)),  # hex of its first 24 bytes, which say for what revisions of the chip it is; null as above
    UniqueConstraint("product", "precedence", name="uq_releases_precedence"),
)

devices = Table(
    "devices",
    metadata,
    # What other tables call the device. It means nothing: drawn at random, or the id where the device was there before revision 0010.
    Column("key", DEVICE, primary_key=True),
    Column("id", DEVICE, nullable=False),  # what the device calls itself: no two of one product have the same
    Column("product", String(64), ForeignKey("products.id"), nullable=False),
    Column("version", String(128)),  # of the last check-in; null before the first
    Column("properties", Text, nullable=False),  # JSON, the whole last check-in
    Column("registered_s", LONG, nullable=False),  # the last time
    Column("registrations", Integer, nullable=False),
    Column("seen_s", LONG),  # last check-in
    Column("next_s", Integer),  # seconds after it in which the device means to check in again; null: its agent does not say so
    Column("interval_s", LONG),  # between its last check-ins, as far as the cloud has seen
    Column("checkins", Integer, nullable=False),
    Column("unknown_reports", Integer, nullable=False),  # about updates that are not here
    Column("removed_s", LONG),
    Column("claimed", Boolean, nullable=False),
    Column("pin", String(128)),  # the only version it is offered
    Column("first_s", LONG, nullable=False, default=0),  # its first registration
    Column("vouched", Boolean, nullable=False, default=False),  # an operator made or claimed it: it counts whatever its age
    Column("awaited", Boolean, nullable=False, default=False),  # an operator's claim waits for it to register and to use its token
    Column("address", String(64), nullable=False, default=""),  # of the last registration
    Column("keeps", Boolean, nullable=False, default=False),  # it is known to keep its token over a restart
    Column("reported_s", LONG),  # last report
    Column("refused", Integer, nullable=False, default=0),  # registrations with its id that were refused
    Column("refused_s", LONG),  # the last of them
    Column("refused_from", String(64), nullable=False, default=""),
    Column("booted_s", LONG),  # when it started, by its last check-in; null: it does not say
    Column("mixed", Integer, nullable=False, default=0),  # signs that several boards share its id, see identity.py
    Column("mixed_s", LONG),  # the last of them
    Column("shared_s", LONG),  # since then it counts as shared
    Index("ix_devices_id", "id", "product", unique=True),
    Index("ix_devices_product", "product", "removed_s", "id"),
    Index("ix_devices_first", "product", "first_s"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256; the token itself is not kept
    Column("device", String(128), ForeignKey("devices.key"), nullable=False),
    Column("created_s", LONG, nullable=False),
    Column("used_s", LONG),  # first use; null: given out, not seen yet
    Column("replaces", Boolean, nullable=False),  # its first use ends the others
    Column("rotate", Boolean, nullable=False),  # the device is given another one at its next check-in
    Column("origin", String(16), nullable=False, default="registered"),  # tokens.ORIGINS
    Column("asked", String(64), nullable=False, default=""),  # SHA-256 of where and with what the device registered for it
    Column("ended_s", LONG),  # another one has replaced it
    Column("late_s", LONG),  # its first use after that
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
    Column("received_s", LONG, nullable=False),  # the first time
    Column("times", Integer, nullable=False),  # how often the same report came
    Index("ix_reports_received", "received_s"),  # the oldest go
)

# A device that was offered a release: it has one of its places for good.
grants = Table(
    "grants",
    metadata,
    Column("device", String(128), ForeignKey("devices.key"), primary_key=True),
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    Column("version", String(128), nullable=False),  # that ran when it was offered
    Column("tries", Integer, nullable=False),  # how often it was offered
    Column("attempt", Integer, nullable=False),  # the device's own, of its last report
    Column("state", String(16), nullable=False),  # rollout.TABLE
    Column("ended", String(16)),  # the state in which it ended last: what counts while it is tried again
    Column("counted", Boolean, nullable=False, default=False),  # `ended` is among the release's counts
    Column("granted_s", LONG, nullable=False),  # the slot was taken; 0: the device has none (rollout.WITHDRAWN)
    Column("offered_s", LONG, nullable=False),  # the last offer; no two of a device are of the same second
    Column("changed_s", LONG, nullable=False),
    Column("retry", Integer, nullable=False, server_default="0"),  # how often an operator asked that it be tried again
    Index("ix_grants_release", "release", "granted_s"),
    Index("ix_grants_stands", "release", "state"),
    Index("ix_grants_state", "state", "changed_s"),
)

# Places of a release that a worker may give to devices without asking the others.
leases = Table(
    "leases",
    metadata,
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    Column("worker", String(32), primary_key=True),
    Column("places", Integer, nullable=False),
    Column("until_s", LONG, nullable=False),  # then anybody may give them back
)

# What operators, and the cloud by itself, did. Webhooks are told of it.
audit = Table(
    "audit",
    metadata,
    Column("id", LONG, primary_key=True),
    Column("at_s", LONG, nullable=False),
    Column("who", WHO, nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(128), nullable=False),  # a device, a product, an update
    Column("detail", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)

# What workers hold in memory and must read again: a device (its key), or with null the releases and products.
changes = Table(
    "changes",
    metadata,
    Column("seq", LONG, primary_key=True),
    Column("device", String(128)),
    Column("at_s", LONG, nullable=False),
    sqlite_autoincrement=True,
)

# Policies with a name.
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
    Column("scope", String(16), nullable=False),  # read, publish, admin: each may what those before it may
    Column("created_s", LONG, nullable=False),
    Column("expires_s", LONG),  # null: never
)

# Operators who are signed in at the page.
sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the cookie
    Column("operator", String(64), ForeignKey("operators.hash", ondelete="CASCADE"), nullable=False),
    Column("expires_s", LONG, nullable=False),
)

# Where the devices of a release stood, now and then: what the page's chart is made of.
samples = Table(
    "samples",
    metadata,
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    Column("at_s", LONG, primary_key=True),
    Column("counts", Text, nullable=False),  # JSON, {state: devices}
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", String(64), nullable=False),  # signs what is sent
    Column("wanted", Text, nullable=False),  # actions of audit.py, with blanks between; empty: all
    Column("created_s", LONG, nullable=False),
    Column("delivered_s", LONG),  # the last time it went well
    Column("error", String(256), nullable=False),  # of the last try, empty if it went well
)

# What a webhook has yet to be told of.
deliveries = Table(
    "deliveries",
    metadata,
    Column("webhook", String(16), ForeignKey("webhooks.id"), primary_key=True),
    Column("event", LONG, ForeignKey("audit.id"), primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("due_s", LONG, nullable=False),  # not before; a worker that has it in hand moves it on
    Index("ix_deliveries_due", "due_s"),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(128), primary_key=True),  # see counters.py
    Column("value", BigInteger, nullable=False),
)
