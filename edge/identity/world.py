"""What sign-in sees of the running configuration. Immutable: a reload makes a new World."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

PIN = "onetimepin"
OIDC = "oidc"
DAY = 86400


@dataclass(frozen=True, slots=True)
class Application:
    """An application as far as signing in to it goes."""

    aud: str  # 64 hex digits
    name: str
    domains: tuple[str, ...]  # host, host/path, *.host
    cookie: str = "CF_Authorization"
    same_site: str = "Lax"
    session_duration: int = DAY  # seconds
    providers: tuple[str, ...] = ()  # ids that may be used; empty = all
    straight_on: bool = False  # skip the choice when there is only one way, and it isn't the PIN
    groups: bool = False  # its policies name groups of a provider
    methods: bool = False  # … authentication methods (amr)
    claims: tuple[str, ...] = ()  # … these OIDC claims

    def covers(self, host: str) -> bool:
        """Say whether some domain of it is on this host."""
        return any(_on(domain, host) for domain in self.domains)

    def path(self, host: str) -> str:
        """Return a path on this host that belongs to it; policies are the same for all of them."""
        paths = ["/" + d.partition("/")[2].replace("*", "x") for d in self.domains if _on(d, host)]
        return min(paths, key=len, default="/")


def _on(domain: str, host: str) -> bool:
    """Say whether a domain (host, host/path or *.host) is on this host; * stands for one label."""
    name = domain.partition("/")[0].lower()
    label, _, parent = host.partition(".")
    return name == host or (name.startswith("*.") and label != "" and parent == name[2:])


@dataclass(frozen=True, slots=True)
class Provider:
    """One way to prove who somebody is."""

    id: str
    name: str
    type: str  # PIN or OIDC
    issuer: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    email_claim: str = "email"
    trust_email: bool = False  # its addresses count without email_verified
    groups_claim: str = ""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    claims: tuple[str, ...] = ()  # that some policy names: kept in the session
    prompt: str = ""
    ca_file: str = ""  # authorities to check it against, instead of the system's
    allow_local: bool = False  # it may be at a private or loopback address, there with plain http


@dataclass(frozen=True, slots=True)
class Mail:
    """Where mail goes out."""

    server: str  # smtps://host[:465], or smtp://host[:587]: STARTTLS, not needed on loopback
    sender: str  # address, or Name <address>
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""  # authorities to check the server against, instead of the system's
    timeout: float = 10.0  # seconds for one delivery


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the policies of one application say about one person."""

    verdict: str  # allow, deny, bypass, service, login, unavailable
    reason: str
    policy: str = ""
    session_duration: int | None = None  # seconds, when the policy overrides the application's
    aud: str = ""  # of the application whose policies these were; empty: of none

    @property
    def allowed(self) -> bool:
        return self.verdict in ("allow", "bypass")


Facts = Mapping[str, Any]


class Judge(Protocol):
    """The compiled policy program, asked from Python. A fact kind that is absent is unknown."""

    def decide(self, host: str, path: str, facts: Facts) -> Judgement:
        """Evaluate the application at host and path."""
        ...

    def may_allow(self, host: str, path: str, facts: Facts) -> bool:
        """Say whether some allow policy is not false with only these facts known."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    auth_domain: str
    issuer: str  # the tokens' `iss`
    auth_aud: str  # AUD of the auth domain itself, for global tokens
    applications: Mapping[str, Application]  # by AUD
    providers: Mapping[str, Provider]  # by id, in the order to offer them
    judge: Judge
    scheme: str = "https"
    suffix: str = ""  # of public addresses: "" or ":8443"
    global_session: int = DAY  # seconds
    mail: Mail | None = None
    organization: str = "Sekisho"  # shown on the pages

    def url(self, host: str, path: str) -> str:
        return f"{self.scheme}://{host}{self.suffix}{path}"

    def at(self, host: str) -> list[Application]:
        """Return the applications that have some domain on this host."""
        return [app for app in self.applications.values() if app.covers(host)]

    def takes(self, application: Application, provider: str) -> bool:
        """Say whether sessions that came by this provider count at this application. Workers know
        the same from the snapshot."""
        return provider in self.providers and (
            not application.providers or provider in application.providers
        )

    def offered(self, application: Application | None) -> list[Provider]:
        """Return the ways to sign in that this application allows (all, for the auth domain)."""
        every = list(self.providers.values())
        if application is None or not application.providers:
            return every
        return [provider for provider in every if provider.id in application.providers]
