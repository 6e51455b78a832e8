"""The edge's certificates as they will be served: each with its key, in date, for every host.

Apart from the other checks: an edge that ran before starts with a pair that is half renewed, on the
one that worked last. Only a reload and a first start are refused over it."""

from datetime import UTC, datetime
from pathlib import Path

from _fastpath.contexts import TicketKeys, TlsContexts
from _fastpath.pem import certificate_names
from edge.config.files import read_regular
from edge.config.model import Certificate, Config
from edge.config.problem import Mark, Problem

MAX_PEM = 1 << 20  # bytes of one file that are read
SOON = 14 * 86_400  # seconds before its end from which on a certificate is warned of

Place = tuple[str, Mark]


def certificate_problems(config: Config, now: float) -> list[Problem]:
    """Return what is wrong with certificates and keys that can be read, each at its place.

    now: unix time. Files that can't be read are for the check of files to tell."""
    found: list[Problem] = []
    names: set[str] | None = set()
    for certificate in config.certificates:
        try:
            chain = read_regular(certificate.certificate, MAX_PEM)
            secret = read_regular(certificate.key, MAX_PEM)
        except OSError:
            names = None
            continue
        wrong = pair_problem(certificate, chain, secret)
        if wrong is not None:
            key, text = wrong
            found.append(problem(certificate.place(key), text, "error"))
            names = None
            continue
        held = {name.lower() for name in certificate_names(chain)}
        place = certificate.place("certificate")
        # the demo's are made anew each time, for two days
        texts = [dates(certificate.certificate, chain, now, 0 if config.demo else SOON)]
        if not held:
            texts.append(
                f"{certificate.certificate} names no host (subjectAltName): it is never shown"
            )
        found += [problem(place, text, "warning") for text in texts if text]
        if names is not None:
            names |= held
    if names is not None and config.listen and config.certificates:
        found += uncovered(config, names)
    return sorted(found)


def problem(place: Place, text: str, level: str) -> Problem:
    return Problem(place[0], *place[1], text, level)


def pair_problem(certificate: Certificate, chain: bytes, secret: bytes) -> tuple[str, str] | None:
    """Return (key of the entry, sentence) when TLS can't be spoken with this pair, else None."""
    public, private = certificate.certificate, certificate.key
    certified, keyed = b"CERTIFICATE-----" in chain, b"PRIVATE KEY-----" in secret
    key_there, certificate_there = b"PRIVATE KEY-----" in chain, b"CERTIFICATE-----" in secret
    if not certified and not keyed and key_there and certificate_there:
        return "certificate", (
            f"“certificate” and “key” are swapped: {public} holds a private key, {private} a "
            f"certificate"
        )
    if not certified:
        held = "a private key and no certificate" if key_there else "no certificate"
        return "certificate", f"{public} holds {held}"
    if not keyed:
        held = "a certificate and no private key" if certificate_there else "no private key"
        return "key", f"{private} holds {held}"
    if b"ENCRYPTED" in secret:
        return "key", f"{private} is locked by a password, and nobody is there to type it"
    try:
        # exactly what a worker does with it
        TlsContexts(TicketKeys()).add([], chain, secret)
    except ValueError as error:
        if "doesn't belong" in str(error):
            return "key", f"{private} is the key of another certificate than {public}"
        return "certificate", f"{public} with {private} can't be used: {error}"
    return None


def dates(path: Path, chain: bytes, now: float, soon: float) -> str | None:
    """Return a sentence when a certificate isn't valid now, or won't be in `soon` seconds."""
    from cryptography import x509

    leaf = x509.load_pem_x509_certificates(chain)[0]
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if end <= now:
        return f"{path} ended on {day(end)}: browsers refuse it"
    if begin > now:
        return f"{path} begins only on {day(begin)}: browsers refuse it until then"
    if end < now + soon:
        return f"{path} ends on {day(end)}: renew it"
    return None


def day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def uncovered(config: Config, names: set[str]) -> list[Problem]:
    """Return a warning for each host that people come to and no certificate names."""
    hosts: dict[str, Place] = {config.auth_domain: config.place("certificates")}
    for route in config.routes:
        hosts.setdefault(route.hostname, route.place("hostname"))
    for app in config.applications:
        for domain in app.covers:
            if above(domain.host) not in hosts:
                hosts.setdefault(domain.host, app.place("name"))
    return [
        problem(place, f"no certificate covers {host}: nobody can connect to it", "warning")
        for host, place in hosts.items()
        if host not in names and above(host) not in names
    ]


def above(host: str) -> str:
    """Return the wildcard that covers a host: of one label, as browsers have it (RFC 6125)."""
    return "*." + host.partition(".")[2]
