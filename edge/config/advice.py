"""Warnings: what is allowed, and most likely not meant."""

from collections.abc import Callable, Iterable

from edge.config.criteria import Criterion
from edge.config.domain import Domain
from edge.config.model import Application, Config, Policy
from edge.config.problem import Mark
from edge.config.rule import Rule

Warn = Callable[[tuple[str, Mark], str], None]
Values = set[tuple[str, Criterion]]
# a policy that its include rules alone decide: number, policy, their values, is one “everyone”
Broad = tuple[int, Policy, Values, bool]

# Criteria of which a person or request has one value: two different required ones are never both
# true
SINGLE = ("email", "email_domain", "login_method", "service_token")
CREDENTIALS = {"service_token", "any_valid_service_token"}
EARLY = ("bypass", "non_identity")  # come before allow and deny, wherever they are written


def advise(config: Config, warn: Warn) -> None:
    for app in config.applications:
        if app._advice is None:
            # kept with the application: a load that read its file before has nothing to find out
            app._advice = tuple(of_policies(app))
        for place, text in app._advice:
            warn(place, text)
    insides(config, warn)
    routing(config, warn)
    for number, proxies in enumerate(config.trusted_proxies):
        if proxies.prefixlen == 0:
            warn(
                config.place("trusted_proxies", number),
                f"{proxies} is everybody: whoever comes names the address that rules see",
            )


def of_policies(app: Application) -> list[tuple[tuple[str, Mark], str]]:
    """Return what one application's policies alone give reason to warn of."""
    found: list[tuple[tuple[str, Mark], str]] = []

    def warn(place: tuple[str, Mark], text: str) -> None:
        found.append((place, text))

    broad: list[Broad] = []
    for number, policy in enumerate(app.policies):
        if not policy.require and not policy.exclude:
            everyone = any(rule.kind == "everyone" for rule in policy.include)
            broad.append((number, policy, values(policy.include), everyone))
    for number, policy in enumerate(app.policies):
        include = values(policy.include)
        one_policy(policy, include, warn)
        shadows(number, policy, include, broad, warn)
    return found


def values(rules: Iterable[Rule]) -> Values:
    return {(rule.kind, rule.criterion) for rule in rules}


def one_policy(policy: Policy, include: Values, warn: Warn) -> None:
    kinds = {rule.kind for rule in policy.include}
    name = f"policy “{policy.name}”"
    if policy.decision == "allow" and "everyone" in kinds and not policy.require:
        warn(
            policy.place("include"),
            f"{name} lets in everyone who can sign in, and requires nothing",
        )
    why = never(policy, include)
    if why:
        warn(policy.place(), f"{name} can never match: {why}")
        return
    if policy.decision == "non_identity":
        all_kinds = kinds | {rule.kind for rule in policy.require}
        by_token = kinds <= CREDENTIALS or any(r.kind in CREDENTIALS for r in policy.require)
        if not by_token and "group" not in all_kinds:
            warn(
                policy.place("include"),
                f"{name} lets requests in without any credential; a non_identity policy usually "
                f"requires a "
                f"service token",
            )


def never(policy: Policy, include: Values) -> str | None:
    """Return why a policy can never match, or None. include: its values."""
    require, exclude = values(policy.require), values(policy.exclude)
    if include <= exclude:
        return "everything that it includes it also excludes"
    if ("everyone", next((v for k, v in exclude if k == "everyone"), None)) in exclude:
        return "it excludes everyone"
    for rule in policy.require:
        if (rule.kind, rule.criterion) in exclude:
            return f"it requires and excludes {rule.kind} {rule.criterion.text()}".rstrip()
    for kind in SINGLE if require else ():
        wanted = {v for k, v in require if k == kind}
        if len(wanted) > 1:
            return f"it requires two different values of {kind} at once"
        included = {v for k, v in include if k == kind}
        if wanted and all(k == kind for k, _ in include) and not wanted & included:
            return f"it requires a {kind} that it does not include"
    of_person = [rule for rule in policy.require if rule.person]
    if policy.decision == "non_identity" and all(r.person for r in policy.include):
        return (
            "non_identity policies are for requests without a person, and it only includes persons"
        )
    if policy.decision == "non_identity" and of_person:
        return f"it requires {of_person[0].kind}, and a service token has none"
    if policy.decision == "allow":
        token = [r for r in policy.require if r.kind in CREDENTIALS]
        if token or all(r.kind in CREDENTIALS for r in policy.include):
            return "a request with a service token never comes to allow policies; use non_identity"
    return None


def shadows(number: int, policy: Policy, include: Values, broad: list[Broad], warn: Warn) -> None:
    """Warn of a policy that another one before it always decides for."""
    early = policy.decision in EARLY
    for other_number, other, theirs, everyone in broad:
        if not everyone and not include <= theirs:
            continue
        if other.decision == "non_identity" and not early:
            continue
        other_early = other.decision in EARLY
        before = (other_early and not early) or (other_early == early and other_number < number)
        if before:
            _, mark = other.place("name")
            warn(
                policy.place("name"),
                f"policy “{policy.name}” never decides: “{other.name}” (line {mark.line}) "
                f"matches before it",
            )
            return


def insides(config: Config, warn: Warn) -> None:
    """Say which of two applications decides where both cover something."""
    by_host: dict[str, list[tuple[Domain, Application]]] = {}
    for app in config.applications:
        for domain in app.covers:
            by_host.setdefault(domain.host, []).append((domain, app))
    for members in by_host.values():
        if len(members) < 2:
            continue
        plain = {domain.path: app for domain, app in members}
        for domain, app in members:
            outer = nearest(plain, domain.path)
            if outer is not None and plain[outer] is not app:
                other = plain[outer]
                warn(
                    app.place("name"),
                    f"“{app.name}” ({domain}) is inside “{other.name}” ({domain.host}{outer}): "
                    f"there “{app.name}” "
                    f"decides alone, and nothing of “{other.name}” is inherited",
                )
    for host, members in by_host.items():
        parent = "*." + host.partition(".")[2]
        if host.startswith("*.") or parent not in by_host:
            continue
        for domain, app in members:
            other = by_host[parent][0][1]
            if other is not app:
                warn(
                    app.place("name"),
                    f"“{app.name}” ({domain}) is inside “{other.name}” ({parent}): there "
                    f"“{app.name}” decides alone, "
                    f"and nothing of “{other.name}” is inherited",
                )


def nearest(paths: dict[str, Application], path: str) -> str | None:
    """Return the longest other path that covers this one."""
    while path:
        path = path.rpartition("/")[0]
        if path in paths:
            return path
    return None


def routing(config: Config, warn: Warn) -> None:
    routes = {route.hostname: route for route in config.routes}
    hosts = {domain.host for app in config.applications for domain in app.covers}
    for route in config.routes:
        beneath = route.hostname.startswith("*.") and any(
            host.partition(".")[2] == route.hostname[2:] for host in hosts
        )
        above = "*." + route.hostname.partition(".")[2]
        if route.hostname not in hosts and above not in hosts and not beneath:
            warn(
                route.place("hostname"),
                f"no application covers {route.hostname}: everybody is refused there",
            )
        if route.origin_request.no_tls_verify:
            warn(
                route.origin_request.place("no_tls_verify"),
                f"whoever stands between the edge and {route.hostname}'s origin can read and "
                f"change everything",
            )
    for app in config.applications:
        for domain in app.covers:
            above = "*." + domain.host.partition(".")[2]
            if domain.host not in routes and above not in routes:
                warn(
                    app.place("name"),
                    f"no route leads to {domain.host}: whoever is let in gets a 502 page",
                )
