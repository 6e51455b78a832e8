"""A configuration from plain data, compiled, in one call: what policy tests start from."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from _fastpath.snapshot import Snapshot
from edge.config import InstallationKeys, Loaded, StoreObjects, compile_snapshot, load
from edge.config.world import ConfigWorld

KEYS = InstallationKeys(aud_key=b"a" * 32, hash_key=b"hash key of test", auth_aud="0" * 64)
TOKENS = {"client-1": ["token-1", "Robot", []], "client-2": ["token-2", "Other robot", []]}
OBJECTS = StoreObjects(tunnels={"office": "1" * 36}, service_tokens=TOKENS)
PROVIDERS: list[dict[str, Any]] = [
    {"name": "PIN", "type": "onetimepin", "id": "pin"},
    {
        "name": "SSO",
        "type": "oidc",
        "id": "sso",
        "issuer": "https://id.example.com",
        "client_id": "x",
    },
]


def config(**parts: Any) -> dict[str, Any]:
    """Return a whole configuration around the parts that a test is about."""
    return {
        "auth_domain": "login.example.com",
        "plain": ["10.0.0.5:8080"],
        "trusted_proxies": ["10.0.0.0/24"],
        "mail": {"server": "smtps://mail.example.com", "from": "a@example.com"},
        "identity_providers": PROVIDERS,
        **parts,
    }


@contextlib.contextmanager
def written(data: Mapping[str, Any] | str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sekisho.yml"
        path.write_text(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False))
        yield path


def loaded(**parts: Any) -> Loaded:
    with written(config(**parts)) as path:
        return load(path)


def compiled(version: int = 1, **parts: Any) -> Snapshot:
    """Return the snapshot; every error of the configuration fails the test."""
    return Snapshot(compiled_bytes(version, **parts))


def compiled_bytes(version: int = 1, **parts: Any) -> bytes:
    found = loaded(**parts)
    assert found.ok, "\n".join(map(str, found.errors))
    return compile_snapshot(found, version=version, objects=OBJECTS, keys=KEYS)


def application(policies: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    named = [{"name": f"policy {n}", **policy} for n, policy in enumerate(policies)]
    return {"name": "App", "domain": "app.example.com", "policies": named, **more}


def world(found: Loaded) -> ConfigWorld:
    assert found.config is not None
    return ConfigWorld(found.config, found.list_items, OBJECTS, KEYS)
