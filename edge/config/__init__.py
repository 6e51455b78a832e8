"""Configuration: text -> model -> snapshot, pure.

    loaded = load(path)                     # every file, all errors and warnings with their places
    loaded.ok                               # False: nothing of it may be used
    data = compile_snapshot(loaded, version=7, objects=objects, keys=keys)   # bytes for
    _fastpath.snapshot.Snapshot

`Workshop` keeps parsed files and compiled fragments between calls, so that one change costs one
change."""

from edge.config.compile import (
    ConfigRefused,
    compile_snapshot,
)
from edge.config.json_schema import schema
from edge.config.load import Loaded, load
from edge.config.problem import Problem
from edge.config.workshop import Workshop
from edge.config.world import InstallationKeys, StoreObjects

__all__ = [
    "ConfigRefused",
    "InstallationKeys",
    "Loaded",
    "Problem",
    "StoreObjects",
    "Workshop",
    "compile_snapshot",
    "load",
    "schema",
]
