"""The tables as SQLAlchemy sees them; migrations/ makes them. Times are Unix seconds."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

products = Table(
    "products",
    metadata,
    Column("id", String(64), primary_key=True),  # stands in ioto.json of every board of the product
    Column("name", String(64), nullable=False, unique=True),
    Column("created_s", Integer, nullable=False),
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
    Column("size", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_s", Integer, nullable=False),
    UniqueConstraint("product", "precedence", name="uq_releases_precedence"),
)

devices = Table(
    "devices",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("product", String(64), ForeignKey("products.id"), nullable=False),
    Column("version", String(128)),  # of the last check-in; null before the first
    Column("properties", Text, nullable=False),  # JSON, the whole last check-in
    Column("registered_s", Integer, nullable=False),  # the last time
    Column("registrations", Integer, nullable=False),
    Column("seen_s", Integer),  # last check-in
    Column("checkins", Integer, nullable=False),
    Column("unknown_reports", Integer, nullable=False),  # about updates that are not here
    Column("removed_s", Integer),
)

tokens = Table(
    "tokens",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256; the token itself is not kept
    Column("device", String(128), ForeignKey("devices.id"), nullable=False),
    Column("created_s", Integer, nullable=False),
    Column("used_s", Integer),  # first use; null: given out, not seen yet
    Index("ix_tokens_device", "device"),
)

reports = Table(
    "reports",
    metadata,
    Column("device", String(128), ForeignKey("devices.id"), primary_key=True),
    Column("release", String(26), ForeignKey("releases.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("success", Boolean, nullable=False),
    Column("reason", String(256), nullable=False),
    Column("version", String(128)),
    Column("received_s", Integer, nullable=False),  # the first time
    Column("times", Integer, nullable=False),  # how often the same report came
    Index("ix_reports_release", "release"),
)
