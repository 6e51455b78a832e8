"""What each reason says to a person: a title, and a sentence of what to do. English here, others
in locales/.

Reasons that only a broken program can meet (section A of the negative cases: the head can't be
read, so nobody knows who asked) share their status's sentence; a test holds this table against the
closed list in _fastpath.errors."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sentence:
    title: str
    text: str


def _(text: str) -> str:
    """Mark a text for translation; it is looked up when the page is made."""
    return text


DENIED = Sentence(
    _("You don't have access"),
    _(
        "This account isn't allowed to open this application. If you think it should be, ask "
        "whoever runs it and give them the request number below."
    ),
)
SIGN_IN = Sentence(
    _("Please sign in again"),
    _("Your session here has ended. Go back to the application and sign in once more."),
)
PLANTED = Sentence(
    _("Another site interferes with your sign-in"),
    _(
        "Your browser keeps sending a sign-in cookie that isn't from here. Delete the cookies of "
        "this address and of the addresses above it, then open it again. If it comes back, tell "
        "whoever runs the application, with the request number below."
    ),
)
TUNNEL = Sentence(
    _("The application is out of reach"),
    _(
        "Its connector isn't connected at the moment. Try again in a minute; if it stays like "
        "this, tell whoever runs the application."
    ),
)
ORIGIN = Sentence(
    _("The application isn't answering"),
    _(
        "The checkpoint is working, but the application behind it isn't. Try again in a minute; "
        "if it stays like this, tell whoever runs the application."
    ),
)
SLOW = Sentence(
    _("The application took too long"),
    _(
        "It didn't answer in time. Try again in a minute; if it stays like this, tell whoever "
        "runs the application."
    ),
)
BROKEN = Sentence(
    _("The application answered with something broken"),
    _(
        "Its answer couldn't be passed on safely. Tell whoever runs the application, with the "
        "request number below."
    ),
)
BUSY = Sentence(
    _("Very busy right now"),
    _("There are more requests than can be served. Wait a moment, then try again."),
)
SETUP = Sentence(
    _("This address isn't set up completely"),
    _(
        "The address is known, but no application is ready behind it. Tell whoever runs it, with "
        "the request number below."
    ),
)
CHECKPOINT = Sentence(
    _("Signing in isn't possible right now"),
    _("Whoever is signed in already keeps working. Try again in a minute."),
)
FACTS = Sentence(
    _("Your access can't be checked right now"),
    _("Something that this decision needs isn't known at the moment. Try again in a minute."),
)
INTERNAL = Sentence(
    _("Something went wrong on our side"),
    _(
        "It has been noted. Try again; if it happens again, tell whoever runs this, with the "
        "request number below."
    ),
)
UNKNOWN = Sentence(
    _("There is nothing here"),
    _(
        "Check the address for a typing mistake. If a link brought you here, tell whoever gave it "
        "to you."
    ),
)
REQUEST = Sentence(
    _("That request can't be right"),
    _("Your browser sent something that isn't allowed here. Go back and try again."),
)
CERTIFICATE = Sentence(
    _("Your device's certificate is needed"),
    _(
        "This application opens only for devices with a certificate that is valid. Ask whoever "
        "looks after your device."
    ),
)
PROVIDER = Sentence(
    _("The sign-in service isn't answering properly"),
    _("Signing in with it didn't work. Try again in a minute, or choose another way to sign in."),
)
PERSON = Sentence(
    _("The sign-in service didn't vouch for you"),
    _(
        "It didn't give a verified e-mail address. Check your account there, or choose another "
        "way to sign in."
    ),
)
STARTED_ELSEWHERE = Sentence(
    _("Go on in the browser where you began"),
    _(
        "This sign-in was begun in another browser, has been used, or is too old. Go back to the "
        "application and sign in from there."
    ),
)
COOKIES = Sentence(
    _("Cookies are switched off"),
    _("Signing in needs them, for this site only. Allow cookies here, then try again."),
)
FOREIGN = Sentence(
    _("That didn't come from this page"),
    _("Go back to the application and sign in from there."),
)
DISABLED = Sentence(
    _("This account is disabled"),
    _("Somebody has switched it off. Ask whoever looks after accounts."),
)

_BY_SENTENCE: tuple[tuple[Sentence, tuple[str, ...]], ...] = (
    (
        DENIED,
        (
            "policy-denied",
            "policy-no-match",
            "policy-none",
            "application-missing",
            "rule-everyone",
            "rule-email",
            "rule-email-domain",
            "rule-ip",
            "rule-login-method",
            "rule-claim",
            "rule-idp-group",
            "rule-auth-method",
            "rule-service-token",
            "rule-group",
            "rule-excluded",
            "rule-required",
        ),
    ),
    (
        SIGN_IN,
        (
            "login-method-not-allowed",
            "session-missing",
            "session-expired",
            "session-revoked",
            "session-outdated",
            "login-needed",
            "code-refused",
            "sign-in-again",
        ),
    ),
    (
        PLANTED,  # shown only when it was cleared and came back
        (
            "session-duplicate",
            "token-malformed",
            "token-algorithm",
            "token-signature",
            "token-key-unknown",
            "token-issuer",
            "token-audience",
            "token-type",
            "token-not-yet-valid",
            "token-claims",
        ),
    ),
    (
        TUNNEL,
        (
            "tunnel-unknown",
            "tunnel-down",
            "tunnel-table-unknown",
            "link-lost",
            "link-timeout",
            "link-protocol",
            "link-role",
            "link-goaway",
            "stream-reset",
            "stream-window",
            "relay-refused",
            "relay-lost",
            "relay-loop",
        ),
    ),
    (
        ORIGIN,
        (
            "origin-refused",
            "origin-unreachable",
            "origin-name",
            "origin-tls",
            "origin-closed",
            "origin-address-refused",
        ),
    ),
    (SLOW, ("origin-connect-timeout", "origin-head-timeout", "stream-timeout")),
    (
        BROKEN,
        (
            "origin-response-invalid",
            "origin-response-too-large",
            "origin-upgrade-unasked",
        ),
    ),
    (
        BUSY,
        (
            "client-connections",
            "overloaded",
            "verify-queue-full",
            "tunnel-streams",
            "draining",
            "try-later",
        ),
    ),
    (SETUP, ("route-missing", "tunnel-service-missing")),
    (
        CHECKPOINT,
        (
            "control-down",
            "store-unavailable",
            "snapshot-missing",
            "snapshot-stale",
        ),
    ),
    (FACTS, ("facts-unavailable", "policy-failed", "rule-fact-unknown")),
    (INTERNAL, ("internal",)),
    (UNKNOWN, ("host-unknown", "not-found", "application-unknown")),
    (
        CERTIFICATE,
        (
            "client-certificate-missing",
            "client-certificate-invalid",
            "client-certificate-expired",
            "client-certificate-revoked",
        ),
    ),
    (
        PROVIDER,
        (
            "provider-unreachable",
            "provider-answer-invalid",
            "provider-answer-too-large",
            "provider-address-refused",
            "provider-issuer-mismatch",
            "provider-refused",
            "provider-unknown",
            "id-token-invalid",
            "userinfo-subject-mismatch",
            "claims-invalid",
        ),
    ),
    (PERSON, ("email-missing", "email-not-verified")),
    (STARTED_ELSEWHERE, ("flow-unknown",)),
    (COOKIES, ("cookies-needed",)),
    (FOREIGN, ("form-foreign",)),
    (DISABLED, ("account-disabled",)),
    (
        REQUEST,
        (
            "query-invalid",
            "query-repeated",
            "form-invalid",
            "body-too-large",
            "method-refused",
            "host-mismatch",
            "tls-name-mismatch",
            "head-too-large",
            "line-too-long",
            "fields-too-many",
            "target-too-long",
            "head-timeout",
            "body-timeout",
            "origin-header-missing",
            "path-escape-invalid",
            "path-control",
            "path-slash-encoded",
            "path-backslash",
            "path-double-encoded",
            "path-dot-parameter",
            "path-not-utf8",
            "path-above-root",
        ),
    ),
)
SENTENCES: dict[str, Sentence] = {
    reason: said for said, reasons in _BY_SENTENCE for reason in reasons
}


def sentence(reason: str, status: int) -> Sentence:
    """Return what to say for a reason; one without its own sentence gets its status's."""
    if reason in SENTENCES:
        return SENTENCES[reason]
    if status in (401, 403):
        return SIGN_IN if status == 401 else DENIED
    if status == 404:
        return UNKNOWN
    return INTERNAL if status >= 500 else REQUEST
