"""What sign-in sees of a configuration that has just been compiled: one World, or nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from _fastpath.snapshot import Snapshot
from edge.config import InstallationKeys, Loaded, StoreObjects
from edge.config.criteria.criterion import AUTH_METHOD, CLAIM, GROUP, IDP_GROUP
from edge.config.model import Application as Configured
from edge.config.model import Config, IdentityProvider
from edge.config.model import Mail as ConfiguredMail
from edge.config.rule import Rule
from edge.config.world import ConfigWorld
from edge.identity.judge import SnapshotJudge
from edge.identity.world import Application, Mail, Provider, World


@dataclass(slots=True)
class Named:
    """The fact kinds that some rules name."""

    groups: bool = False
    methods: bool = False
    claims: set[str] = field(default_factory=set)


def world_of(
    loaded: Loaded, snapshot: Snapshot, objects: StoreObjects, keys: InstallationKeys
) -> World:
    """Return the World of a loaded configuration; raises OSError for a secret that can't be read.

    Its judge decides from the same bytes as the workers."""
    config = loaded.config
    assert config is not None  # it was compiled
    names = ConfigWorld(config, loaded.list_items, objects, keys)
    settings = snapshot.settings
    applications = {}
    every = Named()
    for app, (aud, known) in zip(
        config.applications, settings["applications"].items(), strict=True
    ):
        named = _named_by(app, names)
        every.claims |= named.claims
        applications[aud] = Application(
            aud=aud, name=app.name, domains=tuple(known["domains"]), cookie=known["cookie"],
            same_site=app.same_site.capitalize(), session_duration=known["session_duration"],
            providers=tuple(
                ident for ident in (names.provider(word) for word in app.allowed_idps) if ident
            ),
            straight_on=app.auto_redirect_to_identity,
            groups=named.groups, methods=named.methods, claims=tuple(sorted(named.claims)),
        )
    providers = [
        _provider(provider, names.provider_ids[provider.name], every.claims)
        for provider in config.identity_providers
    ]
    return World(
        auth_domain=config.auth_domain, issuer=settings["issuer"], auth_aud=keys.auth_aud,
        applications=applications, providers={one.id: one for one in providers},
        judge=SnapshotJudge(snapshot), scheme=settings["public_scheme"],
        suffix=settings["public_suffix"], global_session=config.session_duration,
        mail=None if config.mail is None else _mail(config.mail),
        organization=config.organization,
    )


def _named_by(app: Configured, names: ConfigWorld) -> Named:
    """Return what the policies of an application name, rule groups included."""
    named = Named()
    seen: set[str] = set()

    def walk(rules: Iterable[Rule]) -> None:
        for rule in rules:
            ask = rule.criterion.ask(names)
            if ask.op == IDP_GROUP:
                named.groups = True
            elif ask.op == AUTH_METHOD:
                named.methods = True
            elif ask.op == CLAIM:
                named.claims.add(ask.claim.decode())
            elif ask.op == GROUP and ask.group is not None and ask.group not in seen:
                seen.add(ask.group)
                group = names.groups[ask.group]
                walk([*group.include, *group.require, *group.exclude])

    for policy in app.policies:
        walk([*policy.include, *policy.require, *policy.exclude])
    return named


def _provider(provider: IdentityProvider, ident: str, claims: set[str]) -> Provider:
    secret = provider.client_secret_file
    return Provider(
        id=ident, name=provider.name, type=provider.type, issuer=provider.issuer or "",
        client_id=provider.client_id or "",
        client_secret="" if secret is None else secret.read_text("utf-8").strip(),
        groups_claim=provider.groups_claim or "", scopes=tuple(provider.scopes),
        claims=tuple(sorted(claims | set(provider.claims))),
        allow_local=provider.allow_private_address, email_claim=provider.email_claim,
        trust_email=provider.email_verified == "trusted", prompt=provider.prompt or "",
        ca_file=str(provider.ca_file or ""),
    )


def _mail(mail: ConfiguredMail) -> Mail:
    password = mail.password_file
    return Mail(
        server=mail.server, sender=mail.sender, username=mail.username or "",
        password="" if password is None else password.read_text("utf-8").strip(),
        ca_file=str(mail.ca_file or ""), timeout=mail.timeout,
    )


def monitor_of(config: Config) -> str | None:
    """Return the monitor's address as text."""
    return None if config.monitor is None else str(config.monitor)
