"""The tables, all of them. Times are whole unix seconds; ids are random text that says nothing.

A migration in migrations/versions brings a database to exactly this shape; a test compares the
two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

# Constraint names are fixed, so that a later migration can name what it changes on either database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only for a column of type INTEGER.
RowNumber = BigInteger().with_variant(Integer, "sqlite")

keys = Table(
    "keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("active_from", BigInteger, nullable=False),
    Column("retires", BigInteger),  # null = not yet known
    Column("public", Text, nullable=False),  # PEM, or empty
    Column("secret", LargeBinary, nullable=False),  # AES-GCM: nonce + ciphertext + tag
    Column("master_id", String(32), nullable=False),  # which master key encrypted it
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(36), primary_key=True),  # the token's `sub`
    Column("email", String(320), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
)

# Who a provider says somebody is. One account may have several only when an administrator links
# them.
subjects = Table(
    "subjects",
    metadata,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(512), primary_key=True),
    Column("account", String(36), nullable=False, index=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("account", String(36), nullable=False, index=True),
    Column("provider", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
    Column("ended", BigInteger),
    Column("address", String(64), nullable=False),
    Column(
        "facts", Text, nullable=False
    ),  # JSON: email, groups, amr, claims, name as sworn at sign-in
)

application_sessions = Table(
    "application_sessions",
    metadata,
    Column("nonce", String(22), primary_key=True),
    Column("session", String(22), nullable=False, index=True),
    Column("aud", String(64), nullable=False, index=True),
    Column("account", String(36), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
    Column("ended", BigInteger),
)

application_epochs = Table(
    "application_epochs",
    metadata,
    Column("aud", String(64), primary_key=True),
    Column("epoch", Integer, nullable=False),
)

# A sign-in that somebody began: where it leads and which browser it is bound to.
flows = Table(
    "flows",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("browser", String(64), nullable=False),  # SHA-256 of the flow cookie
    Column("network", String(64), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("aud", String(64), nullable=False),
    Column("host", String(253), nullable=False),
    Column("redirect", Text, nullable=False),
    Column("meta", String(64), nullable=False),
    Column("language", String(8), nullable=False),
    Column("secret", Text, nullable=False),  # JSON for the provider: nonce and verifier, or address
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("used", BigInteger),
    Index("ix_flows_network_created", "network", "created"),
    Index("ix_flows_expires", "expires"),
)

# One code that is out. A flow has at most one: a new code replaces the old.
pins = Table(
    "pins",
    metadata,
    Column("flow", String(22), primary_key=True),
    Column("digest", String(64), nullable=False),  # HMAC under the server's PIN key
    Column("digits", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
    Column("tries", Integer, nullable=False),
    Column("used", BigInteger),
)

# Browsers that have signed in as an address within 30 days; both columns are digests.
devices = Table(
    "devices",
    metadata,
    Column("device", String(64), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)

# Something happened so often in this minute: failures, mails.
counters = Table(
    "counters",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("count", Integer, nullable=False),
    Index("ix_counters_minute", "minute"),
)

# One-use codes that carry a sign-in from the auth domain to the application's host.
handoffs = Table(
    "handoffs",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the code
    Column("session", String(22), nullable=False),
    Column("aud", String(64), nullable=False),
    Column("host", String(253), nullable=False),
    Column("meta", String(64), nullable=False),  # SHA-256 of the start nonce, base64url
    Column("redirect", Text, nullable=False),
    Column("lifetime", Integer, nullable=False),  # seconds that the application session will live
    Column("expires", BigInteger, nullable=False, index=True),
)

service_tokens = Table(
    "service_tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("client_id", String(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("secrets", Text, nullable=False),  # JSON: [[sha256 hex, expires], …]
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    Column("seq", RowNumber, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("id", String(128), nullable=False),
    Column("epoch", Integer),
    Column("until", BigInteger, nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # a sequence number is never given twice
)

events = Table(
    "events",
    metadata,
    Column("seq", RowNumber, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("kind", String(48), nullable=False),
    Column("who", String(320), nullable=False),
    Column("aud", String(64), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("count", Integer, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)

# What the command line and the API own: tunnels, credentials, routes, administrators.
objects = Table(
    "objects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("name", String(253), nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("secret", LargeBinary),  # as in keys
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("uq_objects_kind_name", "kind", "name", unique=True),
)
