"""What a configuration that no edge runs can't know: tunnels, service tokens, names of before.

All of it stands in the snapshot that an edge runs here, or ran last."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.config.compile import ConfigRefused, compile_snapshot
from edge.config.load import Cache, Loaded, load
from edge.config.problem import Problem
from edge.config.world import InstallationKeys, StoreObjects


def load_beside(path: Path, settings_of: Any) -> Loaded:
    """Load and compile a configuration beside the snapshot of its own edge.

    settings_of(config) returns that snapshot's settings, or None where there is none to be had.
    Nothing is written; the keys that the compiled bytes are made with are of no importance."""
    cache = Cache()
    loaded = load(path, cache=cache)
    if loaded.config is None or not loaded.ok:
        return loaded
    settings: Mapping[str, Any] | None = settings_of(loaded.config)
    objects = StoreObjects()
    if settings is not None:
        loaded = load(path, cache=cache, previous=settings["applications"])
        tunnels = {one["name"]: ident for ident, one in settings["tunnels"].items()}
        objects = StoreObjects(tunnels=tunnels, service_tokens=settings["service_tokens"])
    keys = InstallationKeys(aud_key=bytes(32), hash_key=bytes(16))
    try:
        compile_snapshot(loaded, version=1, objects=objects, keys=keys)
    except ConfigRefused as refused:
        loaded.errors.extend(refused.problems)
    if settings is None:
        loaded.store_warnings = unseen(loaded)
    return loaded


def unseen(loaded: Loaded) -> list[Problem]:
    """Return, for each route to a tunnel that the files don't declare, that it couldn't be seen."""
    config = loaded.config
    if config is None:
        return []
    declared = {word for tunnel in config.tunnels for word in (tunnel.name, tunnel.id)}
    return [
        Problem(
            file, *mark,
            f"whether there is a tunnel “{route.tunnel}” can't be seen here: no edge has run with "
            f"this state folder, or it may not be read",
            "warning",
        )
        for route in config.routes
        if route.tunnel is not None and route.tunnel not in declared
        for file, mark in [route.place("tunnel")]
    ]  # fmt: skip
