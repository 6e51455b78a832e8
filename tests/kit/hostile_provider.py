"""An OpenID provider that does what it is told, however wrong: real sockets, our own answers."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws
from joserfc.jwk import RSAKey


@dataclass
class HostileProvider:
    """Serves discovery, keys, token and userinfo; every answer can be replaced."""

    client_id: str = "edge"
    port: int = 0
    clock: Callable[[], float] = lambda: 0.0
    nonce: str = ""
    discovery: dict[str, Any] = field(default_factory=dict)  # members that replace the right ones
    claims: dict[str, Any] = field(default_factory=dict)  # … of the ID token; None removes one
    header: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    raw: dict[str, bytes] = field(default_factory=dict)  # path -> whole answer, byte for byte
    stall: set[str] = field(default_factory=set)  # paths that never answer
    asked: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)  # ID tokens, as they left
    keys: list[RSAKey] = field(default_factory=list)
    sign_with: RSAKey | None = None
    token: str | None = None  # instead of a signed one

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        if not self.keys:
            self.keys = [RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})]
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ")[1].partition("?")[0]
            self.asked.append(path)
            for line in head.split("\r\n"):
                if line.lower().startswith("content-length:"):
                    self.bodies.append((await reader.readexactly(int(line[15:]))).decode())
            if path in self.stall:
                await reader.read()  # until whoever asked has given up
                return
            if path in self.raw:
                writer.write(self.raw[path])
            else:
                body = json.dumps(self._answer(path)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
                    b"content-length: %d\r\n\r\n%s" % (len(body), body)
                )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            right = {
                "issuer": self.issuer,
                "authorization_endpoint": self.issuer + "/auth",
                "token_endpoint": self.issuer + "/token",
                "jwks_uri": self.issuer + "/keys",
                "userinfo_endpoint": self.issuer + "/me",
            }
            return {**right, **self.discovery}
        if path == "/keys":
            return {"keys": [key.as_dict(private=False) for key in self.keys]}
        if path == "/me":
            return self.userinfo or {}
        self.issued.append(self.token if self.token is not None else self.signed())
        return {
            "access_token": "secret-access-token",
            "refresh_token": "secret-refresh-token",
            "token_type": "Bearer",
            "id_token": self.issued[-1],
        }

    def signed(self) -> str:
        now = int(self.clock())
        right = {
            "iss": self.issuer,
            "aud": self.client_id,
            "sub": "taro",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "email": "taro@example.jp",
            "email_verified": True,
        }
        claims = {k: v for k, v in {**right, **self.claims}.items() if v is not None}
        key = self.sign_with or self.keys[0]
        header = {"alg": "RS256", "kid": key.kid, **self.header}
        header = {k: v for k, v in header.items() if v is not None}
        return jws.serialize_compact(
            header, json.dumps(claims).encode(), key, algorithms=["RS256", "PS256", "RS512"]
        )
