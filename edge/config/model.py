"""The configuration as types: every key, its meaning and its default. docs/configuration.md is made
from this file."""

from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from _fastpath import limits
from edge.config.domain import DomainText
from edge.config.places import Located
from edge.config.problem import Mark
from edge.config.rule import Rule, RuleItem
from edge.config.scalars import (
    AudTag,
    Database,
    Duration,
    FilePath,
    FineDuration,
    HostHeader,
    HostName,
    HostPattern,
    HttpUrl,
    Identifier,
    ListenAddress,
    MailSender,
    MailServer,
    Name,
    NetworkText,
    Origin,
    SessionLength,
    Size,
    Text,
    Truth,
    Whole,
    wrong,
)
from edge.config.service import ServiceText

DAY = 86400


class Certificate(Located):
    """A certificate of the edge; which one a browser gets is chosen by the names that it holds."""

    certificate: FilePath = Field(description="PEM file: the certificate, then its intermediates.")
    key: FilePath = Field(
        description="PEM file with its private key, readable by the service alone."
    )


class Mail(Located):
    """How one-time PINs are sent."""

    server: MailServer = Field(
        description="`smtps://host:465` (TLS), `smtp://host:587` (STARTTLS is required; without "
        "TLS "
        "only on loopback)."
    )
    sender: MailSender = Field(
        alias="from", description="The sender: an address, or `Name <address>`."
    )
    username: Text | None = Field(None, description="For authentication.")
    password_file: FilePath | None = Field(None, description="File with the password.")
    ca_file: FilePath | None = Field(
        None,
        description="PEM file of the authorities that the server is checked against, instead of "
        "the system's.",
    )
    timeout: FineDuration = Field(10.0, description="For a whole delivery.")


class Timeouts(Located):
    """How long each side may take."""

    handshake: FineDuration = Field(
        limits.TIMEOUT_HANDSHAKE / 1000, description="From accept to the end of the TLS handshake."
    )
    head: FineDuration = Field(
        limits.TIMEOUT_HEAD / 1000,
        description="From the first to the last byte of a request's head; then 408.",
    )
    body_idle: FineDuration = Field(
        limits.TIMEOUT_BODY / 1000,
        description="Between two bytes of a body that is awaited; then 408.",
    )
    write: FineDuration = Field(
        limits.TIMEOUT_WRITE / 1000,
        description="While the client takes no byte; then the connection is closed.",
    )
    keep_alive: FineDuration = Field(
        limits.TIMEOUT_KEEP_ALIVE / 1000,
        description="Between two requests; then the connection is closed.",
    )
    upstream_connect: FineDuration = Field(
        limits.TIMEOUT_UPSTREAM_CONNECT / 1000,
        description="To connect to an origin, TLS included; then 504.",
    )
    upstream_head: FineDuration = Field(
        limits.TIMEOUT_UPSTREAM_HEAD / 1000,
        description="From the end of the request to the head of the answer; then 504.",
    )
    upstream_idle: FineDuration = Field(
        limits.TIMEOUT_UPSTREAM_IDLE / 1000,
        description="That an unused connection to an origin is kept.",
    )
    upgrade_idle: FineDuration = Field(
        limits.TIMEOUT_UPGRADE_IDLE / 1000,
        description="Without a byte either way after an upgrade (WebSocket).",
    )
    drain: FineDuration = Field(
        30.0, description="That open requests get to finish when the edge stops."
    )


class Limits(Located):
    """Bounds that may be set lower (the compiled ones are the highest possible, see limits.md)."""

    head: Size = Field(limits.MAX_HEAD, description="Bytes of a request's head; over it 431.")
    fields: Size = Field(limits.MAX_FIELDS, description="Header fields of a request; over it 431.")
    target: Size = Field(limits.MAX_TARGET, description="Bytes of a request's target; over it 414.")
    connections_per_address: Size = Field(
        1000,
        description="Open connections of one client address (of IPv6: of one /64) in one worker; "
        "more are closed at once.",
    )

    @field_validator("connections_per_address")
    @classmethod
    def some(cls, value: int) -> int:
        if value < 1:
            raise wrong("this is at least 1: with 0 nobody could come in")
        return value

    @field_validator("head", "fields", "target")
    @classmethod
    def within(cls, value: int, info: object) -> int:
        key = getattr(info, "field_name", "")
        highest = {
            "head": limits.MAX_HEAD,
            "fields": limits.MAX_FIELDS,
            "target": limits.MAX_TARGET,
        }
        if not 1 <= value <= highest[key]:
            raise wrong(f"this is between 1 and {highest[key]}")
        return value


class IdentityProvider(Located):
    """A way to sign in."""

    name: Name = Field(description="Shown on the sign-in page; rules name it (`login_method`).")
    type: Literal["onetimepin", "oidc"] = Field(
        description="`onetimepin`: a code by mail. `oidc`: OpenID Connect, code flow with PKCE."
    )
    id: Identifier | None = Field(
        None, description="Stays when the name changes; made from the name otherwise."
    )
    issuer: HttpUrl | None = Field(
        None, description="oidc: the issuer, where discovery is found below."
    )
    client_id: Text | None = Field(None, description="oidc: our client's id there.")
    client_secret_file: FilePath | None = Field(
        None,
        description="oidc: file with our client's secret; without one the client is public "
        "(PKCE alone).",
    )
    scopes: list[Text] = Field(
        ["openid", "email", "profile"], description="oidc: scopes asked for."
    )
    email_claim: Text = Field(
        "email",
        description="oidc: the claim with the e-mail address. Any other than `email` needs "
        "`email_verified: trusted`, because the provider's `email_verified` speaks of `email` "
        "only.",
    )
    email_verified: Literal["required", "trusted"] = Field(
        "required",
        description="oidc: `required`: an address counts only with `email_verified: true`. "
        "`trusted`: this "
        "provider's addresses count without it.",
    )
    groups_claim: Text | None = Field(None, description="oidc: the claim with the person's groups.")
    claims: list[Text] = Field(
        [], description="oidc: claims to keep for `custom` beside those that rules name."
    )
    prompt: Text | None = Field(
        None, description="oidc: the `prompt` parameter, like `select_account`."
    )
    ca_file: FilePath | None = Field(
        None,
        description="oidc: PEM file of the authorities that the provider is checked against, "
        "instead of the system's.",
    )
    allow_private_address: Truth = Field(
        False, description="oidc: the provider may be at a private or loopback address."
    )

    @model_validator(mode="after")
    def whole(self) -> "IdentityProvider":
        if self.type == "oidc":
            for key in ("issuer", "client_id"):
                if getattr(self, key) is None:
                    raise wrong(f"“{key}” is missing; an oidc provider needs it")
        else:
            given = self.model_fields_set - {"name", "type", "id"}
            if given:
                raise wrong(
                    f"“{sorted(given)[0]}” has no meaning for a one-time PIN", key=sorted(given)[0]
                )
        return self


class RuleSet(Located):
    """Rules that together are true or not: all of a group and of a policy but its decision."""

    name: Name = Field(
        description="Rules name a group by it; a policy's is shown in logs and by `sekisho "
        "policy explain`."
    )
    id: Identifier | None = Field(None, description="Another name that stays when `name` changes.")
    include: list[RuleItem] = Field(description="One of these must be true.", min_length=1)
    require: list[RuleItem] = Field([], description="All of these must be true.")
    exclude: list[RuleItem] = Field([], description="None of these may be true.")

    @property
    def rules(self) -> list[Rule]:
        return [*self.include, *self.require, *self.exclude]


class Group(RuleSet):
    """Rules under a name, for use in policies and other groups (`group`)."""


class AddressList(Located):
    """A long list of e-mail addresses or networks, for rules `email_list` and `ip_list`."""

    name: Name = Field(description="Rules name it.")
    id: Identifier | None = Field(None, description="Rules may name it by this too.")
    type: Literal["email", "ip"] = Field(description="What it holds.")
    items: list[Text] = Field([], description="The entries.")
    file: FilePath | None = Field(
        None,
        description="A file with more entries, one in a line; empty lines and lines that begin "
        "with # are skipped.",
    )


class Tunnel(Located):
    """A tunnel declared here instead of by `sekisho tunnel create`."""

    name: Name = Field(description="Routes name it.")
    id: Identifier | None = Field(None, description="Its id; made from the name otherwise.")


class OriginOptions(Located):
    """How the edge dials a `service`; Cloudflare's names are taken too."""

    spellings: ClassVar[dict[str, str]] = {
        "caPool": "ca_pool",
        "originServerName": "origin_server_name",
        "noTLSVerify": "no_tls_verify",
        "httpHostHeader": "http_host_header",
        "disableChunkedEncoding": "disable_chunked_encoding",
    }

    ca_pool: FilePath | None = Field(
        None,
        description="PEM file of the authorities that the origin is checked against, instead of "
        "the system's.",
    )
    origin_server_name: HostName | None = Field(
        None, description="The name that the origin's certificate must hold."
    )
    no_tls_verify: Truth = Field(False, description="Take any certificate. A warning says so.")
    http_host_header: HostHeader | None = Field(
        None, description="The Host header that the origin gets instead of the request's."
    )
    disable_chunked_encoding: Truth = Field(
        False, description="Never send a chunked body to the origin."
    )


class Route(Located):
    """Where a hostname leads. A route without an application admits nobody."""

    spellings: ClassVar[dict[str, str]] = {"originRequest": "origin_request"}

    hostname: HostPattern = Field(description="A host name, or `*.` and one for a single label.")
    tunnel: Name | None = Field(
        None, description="Through the connectors of this tunnel, by name or id."
    )
    service: ServiceText | None = Field(
        None,
        description="Dialled by the edge itself: `http://`, `https://`, `unix:/path`, "
        "`unix+tls:/path`, "
        "`http_status:404`, `hello_world`.",
    )
    origin_request: OriginOptions = Field(OriginOptions(), description="How to dial the service.")

    @model_validator(mode="after")
    def one_target(self) -> "Route":
        if (self.tunnel is None) == (self.service is None):
            raise wrong("a route has either “tunnel” or “service”")
        if self.tunnel is not None and self.origin_request.model_fields_set:
            raise wrong(
                "“origin_request” belongs to the connector of a tunnel, not to its route",
                key="origin_request",
            )
        return self


class Policy(RuleSet):
    """Who may come in, or not. docs/policies.md tells how policies are evaluated."""

    decision: Literal["allow", "deny", "bypass", "non_identity"] = Field(
        description="`allow`: after sign-in. `deny`. `bypass`: without sign-in. "
        "`non_identity`: with a service token."
    )
    session_duration: SessionLength | None = Field(
        None,
        description="How long a session lasts that this policy allowed; the application's "
        "otherwise.",
    )


class Application(Located):
    """One unit of sign-in: what it covers, and its policies. Without policies it admits nobody."""

    name: Name = Field(description="Shown to people.")
    domain: DomainText | None = Field(
        None,
        description="`host`, `host/path` or `*.host`; a path covers what lies below it, `*` in "
        "it stands for anything.",
    )
    domains: list[DomainText] = Field([], description="The same, several.")
    id: Identifier | None = Field(
        None, description="Stays when the name changes; made from the name otherwise."
    )
    aud: AudTag | None = Field(
        None,
        description="The AUD tag that origins check, 64 hexadecimal digits; made from the name "
        "otherwise.",
    )
    session_duration: SessionLength | None = Field(
        None,
        description="How long a session lasts; the installation's otherwise. `0`: every request "
        "is new.",
    )
    policies: list[Policy] = Field([], description="In this order.")
    allowed_idps: list[Text] = Field(
        [], description="Identity providers offered here, by name or id; none named: all."
    )
    auto_redirect_to_identity: Truth = Field(
        False, description="Skip the choice of method when only one is offered."
    )
    pass_cookie: Truth = Field(False, description="The origin gets the session cookie too.")
    same_site: Literal["lax", "strict", "none"] = Field(
        "lax", description="SameSite of the session cookie."
    )
    allowed_origins: list[Origin] = Field(
        [], description="Web origins, beside its own, whose pages may open WebSockets here."
    )
    encoded_slash: Truth = Field(
        False, description="Let `%2F` in a path through; else such requests are refused."
    )
    case_insensitive_paths: Truth = Field(
        False,
        description="The application's paths are compared in any ASCII case: for origins that "
        "do so.",
    )
    service_auth_401_redirect: Truth = Field(
        False, description="Answer 401 instead of sending a program to the sign-in page."
    )
    options_preflight_bypass: Truth = Field(
        False,
        description="Let CORS preflights (OPTIONS, never with credentials) through to the origin.",
    )

    # edge.config.fingerprint keeps here what it found out: (digest of what it says, names it
    # refers to)
    _content: tuple[bytes, tuple[tuple[str, str], ...]] | None = PrivateAttr(None)
    # and edge.config.advice what it warns of, which this application alone decides
    _advice: tuple[tuple[tuple[str, Mark], str], ...] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def has_domain(self) -> "Application":
        if self.domain is not None and self.domains:
            raise wrong("write either “domain” or “domains”", key="domain")
        if not self.covers:
            raise wrong("“domain” is missing")
        if len(self.policies) > limits.MAX_POLICIES:
            raise wrong(
                f"an application has at most {limits.MAX_POLICIES} policies", key="policies"
            )
        return self

    @property
    def covers(self) -> list[DomainText]:
        return [self.domain] if self.domain is not None else self.domains


class Part(Located):
    """What an included file may hold."""

    identity_providers: list[IdentityProvider] = Field([], description="Ways to sign in.")
    groups: list[Group] = Field([], description="Rules under a name.")
    lists: list[AddressList] = Field([], description="Long lists for rules.")
    tunnels: list[Tunnel] = Field([], description="Tunnels declared here.")
    routes: list[Route] = Field([], description="Where hostnames lead.")
    applications: list[Application] = Field([], description="What is protected, and for whom.")


class Config(Part):
    """`sekisho.yml`."""

    auth_domain: HostName = Field(
        description="The host name of sign-in. Connectors come to `tunnel.<auth_domain>`."
    )
    organization: Name = Field("Sekisho", description="Shown on the sign-in page.")
    listen: list[ListenAddress] = Field(
        [], description="Where TLS is spoken: `0.0.0.0:443`, `[::]:443`."
    )
    redirect: list[ListenAddress] = Field(
        [], description="Where plain HTTP is only redirected to https."
    )
    plain: list[ListenAddress] = Field(
        [],
        description="Where plain HTTP is spoken to a load balancer that ends TLS; needs "
        "`trusted_proxies`.",
    )
    tunnel_listen: list[ListenAddress] = Field(
        [],
        description="Addresses of their own for connectors, where a load balancer ends TLS on "
        "`listen`.",
    )
    public_port: Whole | None = Field(
        None, description="The port in our URLs where it is not the one that we listen on."
    )
    trusted_proxies: list[NetworkText] = Field(
        [], description="Whose `X-Forwarded-For` and `X-Forwarded-Proto` count. Default: nobody's."
    )
    proxy_protocol: list[ListenAddress] = Field(
        [],
        description="Listening addresses where trusted proxies speak the PROXY protocol (v1, v2).",
    )
    monitor: ListenAddress | None = Field(
        None, description="Where /metrics, /live and /ready are served."
    )
    access_log: Text = Field("stderr", description="A file, `stderr` or `off`.")
    certificates: list[Certificate] = Field([], description="Certificates of the edge.")
    hsts: Duration = Field(
        365 * DAY, description="max-age of Strict-Transport-Security; `0`: none is sent."
    )
    state: Database = Field(
        "sqlite:////var/lib/sekisho/state.db",
        description="The database: `sqlite:////path` or `postgresql://…`.",
    )
    state_folder: FilePath | None = Field(
        None,
        description="Keys, snapshots and revocations; the folder of the SQLite file otherwise.",
    )
    run_folder: FilePath | None = Field(
        None, description="Our Unix sockets; `run` in the state folder otherwise."
    )
    master_key_file: FilePath | None = Field(
        None,
        description="The key over all secrets at rest; `keys/master.key` in the state folder "
        "otherwise.",
    )
    workers: Whole | None = Field(
        None, description="Processes that serve requests; one a core otherwise."
    )
    max_stale: Duration = Field(
        DAY, description="How long workers go on without word from the control process; then 503."
    )
    session_duration: SessionLength = Field(
        DAY,
        description="How long a sign-in lasts, and sessions of applications that say nothing else.",
    )
    mail: Mail | None = Field(None, description="How one-time PINs are sent.")
    timeouts: Timeouts = Field(Timeouts(), description="How long each side may take.")
    limits: Limits = Field(Limits(), description="Bounds.")
    demo: Truth = Field(
        False,
        description="Allow `plain` on loopback for names below `.localhost`, as `sekisho demo` "
        "does.",
    )
    include: list[Text] = Field(
        [],
        description="More files, as a pattern or a list of them: `conf.d/*.yml`. Their lists "
        "join those of this file.",
    )

    @field_validator("include", mode="before")
    @classmethod
    def one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("workers")
    @classmethod
    def some_workers(cls, value: int | None) -> int | None:
        if value is not None and not 1 <= value <= 256:
            raise wrong("this is between 1 and 256")
        return value

    @field_validator("public_port")
    @classmethod
    def a_port(cls, value: int | None) -> int | None:
        if value is not None and not 1 <= value <= 65535:
            raise wrong("this is between 1 and 65535")
        return value


LISTS = tuple(Part.model_fields)
