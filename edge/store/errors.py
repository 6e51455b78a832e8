"""What can go wrong below a query, told apart by what the caller can do about it."""


class StoreError(Exception):
    """Any failure of the store."""


class StoreUnavailable(StoreError):
    """The database can't be used now: down, slow, locked or its disk full. A retry later may
    work."""


class StoreRefused(StoreError):
    """The database must not be used by this release: newer, half migrated, or not ours. A person
    decides."""


class NameTaken(StoreError):
    """Another row already has this name."""
