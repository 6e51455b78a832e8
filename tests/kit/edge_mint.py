"""Tokens signed by a running edge's own key: what that key would never sign, so that only the claim is wrong."""

import asyncio
import json
from typing import Any

from edge.identity.keys import KeyStore
from edge.identity.master_key import MasterKey
from edge.store import Store
from tests.kit.edge_process import EdgeProcess
from tests.kit.mint import Mint, compact, unb64

Json = dict[str, Any]


def claims_of(token: str) -> Json:
    found: Json = json.loads(unb64(token.split(".")[1].encode()))
    return found


class EdgeMint(Mint):
    """Mints over a real token: everything holds but what the test changes."""

    @classmethod
    def of(cls, edge: EdgeProcess, url: str, clock: float) -> "EdgeMint":
        """Read the signing key as control did: the database's row under the master key of the state folder."""

        async def read() -> EdgeMint:
            store = await Store.open(url)
            try:
                keys = await KeyStore.open(store, MasterKey.find(edge.state), clock=lambda: clock)
                signing = keys.signing(clock)
                return cls(signing.kid, 2048, signing.private)
            finally:
                await store.close()

        return asyncio.run(read())

    def over(self, token: str, header: Json | None = None, **changed: Any) -> str:
        """Return the token with other claims and a good signature; ... leaves a claim out, sekisho__X changes ours."""
        claims = claims_of(token)
        for name, value in changed.items():
            where = claims
            if name.startswith("sekisho__"):
                where, name = claims["sekisho"], name.removeprefix("sekisho__")
            where[name] = value
            if value is ...:
                del where[name]
        return self.sign(compact(self.header(**(header or {}))), compact(claims)).decode()
