"""The snapshot's settings: what workers need besides hosts and programs. No secret but hashes."""

from collections.abc import Sequence
from typing import Any

from edge.config.fragment import Identity
from edge.config.model import Config
from edge.config.world import ConfigWorld, StoreObjects


def public_url(config: Config) -> tuple[str, str]:
    """Return scheme and port suffix of our URLs: ("https", "") or, in the demo, ("http",
    ":8080")."""
    scheme, first = "https", config.listen[0].port if config.listen else 443
    if config.demo and config.plain:
        scheme, first = "http", config.plain[0].port
    port = config.public_port or first
    return scheme, "" if port == {"https": 443, "http": 80}[scheme] else f":{port}"


def settings_of(
    config: Config, world: ConfigWorld, objects: StoreObjects, names: Sequence[Identity]
) -> dict[str, Any]:
    scheme, suffix = public_url(config)
    tunnels: dict[str, dict[str, Any]] = {
        ident: {"name": name, "hosts": []} for name, ident in objects.tunnels.items()
    }
    for tunnel in config.tunnels:
        tunnels.setdefault(world.tunnels[tunnel.name], {"name": tunnel.name, "hosts": []})
    anchors: dict[int, bytes] = {}
    for number, route in enumerate(config.routes, 1):  # route 0 is the auth domain
        if route.tunnel is not None and route.tunnel in world.tunnels:
            tunnels[world.tunnels[route.tunnel]]["hosts"].append(route.hostname)
        if route.origin_request.ca_pool is not None:
            anchors[number] = route.origin_request.ca_pool.read_bytes()
    timeouts = config.timeouts.model_dump()
    return {
        "auth_domain": config.auth_domain,
        "auth_aud": world.keys.auth_aud,
        "organization": config.organization,
        "public_scheme": scheme,
        "public_suffix": suffix,
        "public_url_suffix": suffix,
        "issuer": f"{scheme}://{config.auth_domain}{suffix}",
        "keys": {key["kid"]: key for key in world.keys.jwks},
        "service_tokens": dict(objects.service_tokens),
        "app_epochs": dict(objects.app_epochs),
        "tunnels": tunnels,
        "route_anchors": anchors,
        "trusted_proxies": [str(network) for network in config.trusted_proxies],
        "certificates": [
            {"certificate": str(one.certificate), "key": str(one.key)}
            for one in config.certificates
        ],
        "access_log": config.access_log,
        "hsts": 0 if scheme == "http" else config.hsts,
        "max_stale": config.max_stale,
        "session_duration": config.session_duration,
        "timeouts": timeouts,
        "limits": config.limits.model_dump(),
        "demo": config.demo,
        "applications": {
            name.aud: {
                "id": name.id, "name": app.name, "domains": [str(d) for d in app.covers],
                "session_duration": name.session_duration, "cookie": name.cookie,
                "fixed_aud": app.aud is not None,
            }
            for app, name in zip(config.applications, names, strict=True)
        },
    }  # fmt: skip
