"""What a configuration that no edge runs can't know: tunnels, service tokens, names of before.

All of it stands in the snapshot that an edge runs here, or ran last."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.config.certificates import certificate_problems
from edge.config.compile import ConfigRefused, compile_snapshot
from edge.config.files import is_missing
from edge.config.load import Cache, Loaded, load
from edge.config.model import Config
from edge.config.problem import Problem
from edge.config.world import InstallationKeys, StoreObjects


def load_beside(path: Path, settings_of: Any) -> Loaded:
    """Load and compile a configuration beside the snapshot of its own edge.

    settings_of(config) returns that snapshot's settings, or None where there is none to be had.
    Nothing is written; the keys that the compiled bytes are made with are of no importance."""
    cache = Cache()
    loaded = load(path, cache=cache)
    config = loaded.config
    if config is None:
        return loaded
    of_pairs = certificate_problems(config, time.time())
    wrong = [one for one in of_pairs if one.level == "error"]
    if not loaded.ok:
        # advice on half a configuration would be about what isn't there
        loaded.errors.extend(wrong)
        return loaded
    settings: Mapping[str, Any] | None = settings_of(config)
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
    loaded.errors.extend(wrong)
    loaded.check_warnings.extend(one for one in of_pairs if one.level == "warning")
    missing = master_key_missing(config, first=settings is None)
    if missing is not None:
        (loaded.errors if missing.level == "error" else loaded.check_warnings).append(missing)
    return loaded


def master_key_missing(config: Config, *, first: bool) -> Problem | None:
    """Return a problem when “master_key_file” isn't there; first: no edge was seen to run yet."""
    path = config.master_key_file
    if path is None or not is_missing(path):
        return None
    file, mark = config.place("master_key_file")
    if first:
        text = f"{path} isn't there yet: `sekisho edge init` makes it"
        return Problem(file, *mark, text, "warning")
    return Problem(file, *mark, f"{path} isn't there: without it the state can't be read")


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
            f"this state folder (normal before the first start), or it may not be read",
            "warning",
        )
        for route in config.routes
        if route.tunnel is not None and route.tunnel not in declared
        for file, mark in [route.place("tunnel")]
    ]  # fmt: skip
