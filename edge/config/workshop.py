"""A running configuration: what was parsed and compiled is kept, so that one change costs one
change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.config.compile import FragmentCache, compile_snapshot
from edge.config.load import Cache, Loaded, load, stat_of
from edge.config.world import InstallationKeys, StoreObjects


class Workshop:
    """Loads and compiles one configuration again and again. Not for two threads at once."""

    def __init__(self, path: str | Path, *, credentials: str | None = None) -> None:
        self.path = Path(path)
        self.credentials = credentials
        self.cache = Cache()
        self.fragments = FragmentCache()
        self.seen: dict[str, tuple[int, int, int] | None] = {}
        self.previous: Mapping[str, Mapping[str, Any]] = {}

    def load(self) -> Loaded:
        """Read what changed; never raises for what it reads."""
        loaded = load(
            self.path, credentials=self.credentials, previous=self.previous, cache=self.cache
        )
        self.seen = loaded.files
        return loaded

    def changed(self) -> bool:
        """Tell whether a file (or a folder with included files) looks different than at the last
        load."""
        return any(stat_of(Path(path)) != stamp for path, stamp in self.seen.items())

    def compile(
        self,
        loaded: Loaded,
        *,
        version: int,
        objects: StoreObjects | None = None,
        keys: InstallationKeys,
        extra: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the snapshot's bytes; raises ConfigRefused and keeps what it had."""
        return compile_snapshot(
            loaded, version=version, objects=objects, keys=keys, extra=extra, cache=self.fragments
        )

    def running(self, applications: Mapping[str, Mapping[str, Any]]) -> None:
        """Say which applications run now (a snapshot's settings["applications"]): renames are
        noticed against them."""
        self.previous = applications
