"""Where new credentials send connectors."""

import pytest

from edge.server.plan import Listener, connectors_dial

NAME = "tunnel.login.example.test"


@pytest.mark.parametrize(
    ("listeners", "public_port", "dialled"),
    [
        ([("tls", "0.0.0.0", 8443)], None, [f"{NAME}:8443"]),
        ([("tls", "0.0.0.0", 8443)], 443, [f"{NAME}:443"]),
        ([("tls", "0.0.0.0", 8443), ("tls", "::", 8443)], 443, [f"{NAME}:443"]),
        ([("tls", "2001:db8::1", 443)], None, ["[2001:db8::1]:443"]),
        ([("tls", "192.0.2.1", 8443), ("tunnel", "192.0.2.1", 7844)], 443, ["192.0.2.1:7844"]),
        ([("plain", "127.0.0.1", 8080)], None, [f"{NAME}:443"]),
    ],
    ids=["listening", "mapped", "both-families", "an-address", "a-port-of-their-own", "none"],
)
def test_addresses(
    listeners: list[tuple[str, str, int]], public_port: int | None, dialled: list[str]
) -> None:
    made = [Listener(kind, host, port, False) for kind, host, port in listeners]  # type: ignore[arg-type]
    assert connectors_dial(NAME, made, public_port) == dialled
