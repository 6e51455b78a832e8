"""What names in rules mean: the merged configuration, and the store's objects."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.config.identifiers import default_id
from edge.config.listitems import ListItems
from edge.config.model import Application, Config, Group


@dataclass(frozen=True)
class StoreObjects:
    """What lives in the store and not in files."""

    tunnels: Mapping[str, str] = field(default_factory=dict)  # name -> id
    service_tokens: Mapping[str, Any] = field(
        default_factory=dict
    )  # client id -> [id, name?, secrets]
    app_epochs: Mapping[str, int] = field(default_factory=dict)  # AUD -> epoch


@dataclass(frozen=True)
class InstallationKeys:
    """What the installation's key store gives to a snapshot. Public, or secret only to strangers'
    guesses."""

    aud_key: bytes  # HMAC key of AUD tags and ids
    hash_key: bytes  # 16 bytes: key of the look-up tables
    jwks: list[dict[str, Any]] = field(default_factory=list)
    auth_aud: str = ""


class ConfigWorld:
    """Looks names up. Built once for each compile."""

    def __init__(
        self,
        config: Config,
        items: Mapping[str, ListItems],
        objects: StoreObjects,
        keys: InstallationKeys,
    ) -> None:
        self.keys = keys
        self.items = items  # by list name
        self.groups: dict[str, Group] = {group.name: group for group in config.groups}
        self._group_names = {w: g.name for g in config.groups for w in (g.id, g.name) if w}
        self._lists: dict[tuple[str, str], str] = {
            (one.type, w): one.name for one in config.lists for w in (one.id, one.name) if w
        }
        self._providers: dict[str, str] = {}
        self.provider_ids: dict[str, str] = {}
        for provider in config.identity_providers:
            ident = provider.id or default_id(keys.aud_key, "provider", provider.name)
            self.provider_ids[provider.name] = ident
            self._providers[ident] = self._providers[provider.name] = ident
        self._every_method = tuple(sorted(self.provider_ids.values()))
        self.tunnels: dict[str, str] = {}
        for name, ident in objects.tunnels.items():
            self.tunnels[name] = self.tunnels[ident] = ident
        for tunnel in config.tunnels:
            ident = tunnel.id or default_id(keys.aud_key, "tunnel", tunnel.name)
            self.tunnels[tunnel.name] = self.tunnels[ident] = ident
        self._tokens: dict[str, str] = {}
        for client, token in objects.service_tokens.items():
            ident = token[0]
            self._tokens.setdefault(client, ident)
            if len(token) > 2:
                self._tokens.setdefault(token[1], ident)
        for token in objects.service_tokens.values():
            self._tokens[token[0]] = token[0]

    def methods(self, application: Application) -> tuple[str, ...]:
        """Return the ids of the providers whose sessions count there: those named, or all."""
        if not application.allowed_idps:
            return self._every_method
        named = (self.provider(word) for word in application.allowed_idps)
        return tuple(sorted({ident for ident in named if ident}))

    def provider(self, word: str) -> str | None:
        return self._providers.get(word)

    def group(self, word: str) -> str | None:
        return self._group_names.get(word)

    def list_named(self, kind: str, word: str) -> str | None:
        return self._lists.get((kind, word))

    @property
    def service_tokens(self) -> Collection[str]:
        """Every name and id of a service token."""
        return self._tokens.keys()

    def service_token(self, word: str) -> str | None:
        return self._tokens.get(word)
