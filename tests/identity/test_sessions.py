"""Sessions without HTTP: what a sign-in makes of earlier ones, and whose verdict makes a token."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from sqlalchemy import text

from edge.identity.destination import destination, meta_of
from edge.identity.keys import KeyStore
from edge.identity.providers.oidc import plain
from edge.identity.revocations import MAX_ENDED, Revocations
from edge.identity.sessions import Current, Issued, Person, Refused, Sessions
from edge.identity.tokens import Tokens
from edge.identity.world import OIDC, Application, Judgement, Provider, World
from edge.store import ApplicationSessionRow, Store
from edge.store.sessions import MAX_CODES, MAX_ENTRIES
from tests.kit.sign_in import GRAFANA_AUD, WIKI_AUD, ManualClock

START = "s" * 22
ANN = Person(
    issuer="https://id.example",
    subject="ann",
    email="ann@example.com",
    name="Ann",
    groups=("eng", "admins"),
    amr=("pwd",),
    claims=(("department", "R&D"), ("sites", ["a", "b"])),
)


@dataclass
class Verdict:
    """A judge that says the same about everybody."""

    says: Judgement = field(
        default_factory=lambda: Judgement("allow", "policy-allowed", aud=WIKI_AUD)
    )

    def decide(self, host: str, path: str, facts: Any) -> Judgement:
        return self.says

    def may_allow(self, host: str, path: str, facts: Any) -> bool:
        return True


class House:
    """Sessions over a real store, with what they published."""

    def __init__(self, store: Store, keys: KeyStore, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self.published: list[dict[str, Any]] = []
        self.revocations = Revocations(store, self.published.append, clock)
        self.sessions = Sessions(store, Tokens(keys, clock), self.revocations, clock)
        self.judge = Verdict()
        wiki = Application(
            WIKI_AUD,
            "Wiki",
            ("*.example.com",),
            groups=True,
            claims=("department",),
            session_duration=30 * 86400,
        )
        self.world = World(
            auth_domain="login.example.com",
            issuer="https://login.example.com",
            auth_aud="f" * 64,
            applications={WIKI_AUD: wiki},
            providers={name: Provider(name, name, OIDC) for name in ("sso", "other")},
            judge=self.judge,
        )

    async def sign_in(self, person: Person = ANN, provider: str = "sso") -> Current:
        current = await self.sessions.begin(self.world, provider, person, "", replaces=None)
        assert current is not None
        return current

    async def token(self, current: Current) -> dict[str, Any]:
        """Lead a signed-in person to the wiki and return the claims of the token."""
        host = "wiki.example.com"
        aim = destination(self.world, host, WIKI_AUD, "/", meta_of(START))
        assert aim is not None
        issued = await self.sessions.issue(self.world, aim, current, "192.0.2.1")
        assert isinstance(issued, Issued)
        redeemed = await self.sessions.redeem(self.world, host, issued.code, START)
        assert redeemed is not None
        claims: dict[str, Any] = jwt.decode(redeemed.token, options={"verify_signature": False})
        return claims


@pytest.fixture
def house(store: Store, keys: KeyStore, clock: ManualClock) -> House:
    return House(store, keys, clock)


@pytest.mark.parametrize(
    "changed",
    [
        {"groups": ("eng",)},
        {"groups": ()},
        {"groups": ("eng", "admins", "root")},
        {"claims": (("department", "Sales"), ("sites", ["a", "b"]))},
        {"claims": (("department", "R&D"), ("sites", ["a"]))},
        {"claims": (("department", "R&D"),)},
        {"email": "ann@other.example"},
    ],
    ids=str,
)
async def test_k11_changed_facts_void_what_was_sworn(house: House, changed: Any) -> None:
    """K11: the next sign-in shows that a group is lost or a claim changed: tokens of every browser
    die, and the next ones say what is so now."""
    laptop = await house.sign_in()
    before = await house.token(laptop)
    now = dataclasses.replace(ANN, **changed)
    phone = await house.sign_in(now)
    sub, epoch = phone.account.id, before["sekisho"]["epoch"] + 1
    assert [(e["kind"], e["id"], e["epoch"]) for e in house.published] == [("user", sub, epoch)]
    for sid in (laptop.session.id, phone.session.id):
        current = await house.sessions.live(sid)  # both are still signed in
        assert current is not None
        after = await house.token(current)
        assert after["sekisho"]["epoch"] == epoch and after["email"] == now.email
        assert after["sekisho"]["groups"] == list(now.groups)
        assert after["custom"] == {"department": dict(now.claims)["department"]}
    assert (await house.token(phone))["sekisho"]["epoch"] == epoch


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"name": "Ann B."},
        {"amr": ("pwd", "otp")},
        {"groups": ("admins", "eng")},
        {"claims": (("sites", ["b", "a"]), ("department", "R&D"))},
    ],
    ids=str,
)
async def test_k11_unchanged_facts_end_nothing(house: House, same: Any) -> None:
    """K11: nothing is voided by a second browser, an order, or how somebody signed in."""
    laptop = await house.sign_in()
    await house.sign_in(dataclasses.replace(ANN, **same))
    current = await house.sessions.live(laptop.session.id)
    assert current is not None and current.account.epoch == 0 and house.published == []
    assert current.session.facts["amr"] == ["pwd"]


async def test_k11_methods_stay_those_of_the_sign_in(house: House) -> None:
    """K11: whoever signed in with a second factor here hasn't done so in another browser."""
    laptop = await house.sign_in()
    await house.sign_in(dataclasses.replace(ANN, groups=(), amr=("pwd", "otp")))
    current = await house.sessions.live(laptop.session.id)
    assert current is not None
    assert (current.session.facts["groups"], current.session.facts["amr"]) == ([], ["pwd"])


async def test_k11_other_people_and_providers_stay(house: House) -> None:
    """K11: one provider says nothing about what another one swore, nor about anybody else."""
    elsewhere = await house.sign_in(provider="other")
    bob = await house.sign_in(dataclasses.replace(ANN, subject="bob"))
    await house.sign_in()
    await house.sign_in(dataclasses.replace(ANN, groups=()))
    for current, groups in ((elsewhere, ["eng", "admins"]), (bob, ["eng", "admins"])):
        row = await house.store.sessions.get(current.session.id)
        assert row is not None and row.facts["groups"] == groups
    assert {entry["id"] for entry in house.published} == {elsewhere.account.id}


async def test_k11_a_token_that_outlives_its_sign_in(house: House) -> None:
    """K11: the application's session lives a month, the sign-in a day; the facts count for both."""
    laptop = await house.sign_in()
    await house.token(laptop)
    house.clock.advance(10 * 86400)
    await house.store.clean(int(house.clock()))
    assert await house.sessions.live(laptop.session.id) is None
    await house.sign_in(dataclasses.replace(ANN, groups=()))
    assert [entry["epoch"] for entry in house.published] == [1]
    house.clock.advance(50 * 86400)
    await house.store.clean(int(house.clock()))
    assert await house.store.sessions.get(laptop.session.id) is None


@pytest.mark.parametrize("aud", [GRAFANA_AUD, "", WIKI_AUD[:-1]])
async def test_k10_a_verdict_of_another_application(house: House, aud: str) -> None:
    """K10: the wildcard application covers the host, but a more specific one decides there alone:
    its "allow" is no token of the wildcard."""
    current = await house.sign_in()
    host = "grafana.example.com"
    aim = destination(house.world, host, WIKI_AUD, "/", meta_of(START))
    assert aim is not None
    house.judge.says = Judgement("allow", "policy-allowed", aud=aud)
    refused = await house.sessions.issue(house.world, aim, current, "192.0.2.1")
    assert isinstance(refused, Refused)
    assert (refused.judgement.verdict, refused.judgement.reason) == ("deny", "policy-no-match")
    house.judge.says = Judgement("allow", "policy-allowed", aud=WIKI_AUD)
    assert isinstance(await house.sessions.issue(house.world, aim, current, ""), Issued)


async def rows_of(house: House) -> int:
    async with house.store._database.read() as connection:
        found = await connection.execute(text("SELECT count(*) FROM application_sessions"))
        return int(found.scalar_one())


async def test_a_visitor_without_end_fills_no_disk(house: House) -> None:
    """Thirty-two visits of one sign-in have a row each; those after share the newest one's, which
    lives as long as the last of their tokens."""
    laptop = await house.sign_in()
    seen = []
    for _ in range(MAX_ENTRIES + 5):
        seen.append(await house.token(laptop))
        house.clock.advance(1)
    nonces = [claims["identity_nonce"] for claims in seen]
    assert len(set(nonces)) == await rows_of(house) == MAX_ENTRIES
    assert set(nonces[MAX_ENTRIES:]) == {nonces[MAX_ENTRIES - 1]}
    row = await house.store.sessions.application(nonces[-1])
    assert row is not None and row.expires == seen[-1]["exp"] and row.ended is None
    phone = await house.sign_in()  # another sign-in has its own
    assert (await house.token(phone))["identity_nonce"] not in nonces
    house.world = dataclasses.replace(house.world, global_session=400 * 86400)
    lasting = await house.sign_in()
    for _ in range(MAX_ENTRIES):
        await house.token(lasting)
    before = await rows_of(house)
    house.clock.advance(31 * 86400)  # all of them expired: they make room
    assert (await house.token(lasting))["identity_nonce"] not in nonces
    assert await rows_of(house) == before - MAX_ENTRIES + 1


async def test_a_session_that_ended_is_shared_with_nobody(house: House) -> None:
    laptop = await house.sign_in()
    nonces = [(await house.token(laptop))["identity_nonce"] for _ in range(MAX_ENTRIES)]
    for nonce in nonces:
        await house.revocations.nonce(nonce)
    assert (await house.token(laptop))["identity_nonce"] not in nonces


async def test_sign_outs_of_one_sign_in_are_bounded(house: House) -> None:
    """Each is an entry that every worker keeps for a month: the seventeenth ends the sign-in."""
    laptop = await house.sign_in()
    for number in range(MAX_ENDED + 1):
        claims = await house.token(laptop)
        nonce, sid = claims["identity_nonce"], claims["sekisho"]["sid"]
        assert not await house.revocations.known(nonce, sid)
        await house.revocations.one_application(nonce, sid, WIKI_AUD)
        assert await house.revocations.known(nonce, sid)
        assert (await house.sessions.live(sid) is None) == (number == MAX_ENDED)
    assert [entry["kind"] for entry in house.published] == ["nonce"] * MAX_ENDED + ["session"]


@pytest.mark.parametrize("way", ["gone", "not taken"])
async def test_a_provider_that_is_no_longer_taken_takes_its_sessions_along(
    house: House, way: str
) -> None:
    laptop = await house.sign_in()
    token = house.sessions.global_token(house.world, laptop)
    aim = destination(house.world, "wiki.example.com", WIKI_AUD, "/", meta_of(START))
    assert aim is not None
    issued = await house.sessions.issue(house.world, aim, laptop, "")
    again = await house.sessions.issue(house.world, aim, laptop, "")
    assert isinstance(issued, Issued) and isinstance(again, Issued)
    entered = await house.sessions.redeem(house.world, aim.host, issued.code, START)
    assert entered is not None
    cookies = {"CF_Authorization": [entered.token]}
    assert len(await house.sessions.at_application(house.world, aim.host, cookies)) == 1
    if way == "gone":
        world = dataclasses.replace(house.world, providers={"other": house.world.providers["other"]})
    else:
        wiki = dataclasses.replace(house.world.applications[WIKI_AUD], providers=("other",))
        world = dataclasses.replace(house.world, applications={WIKI_AUD: wiki})
    beside = house.sessions.companion(laptop)
    assert await house.sessions.of_browser(house.world, token, beside) is not None
    assert (await house.sessions.of_browser(world, token, beside) is None) == (way == "gone")
    assert await house.sessions.at_application(world, aim.host, cookies) == []
    assert await house.sessions.redeem(world, aim.host, again.code, START) is None


async def test_signing_out_of_one_application_ends_every_visit_there(house: House) -> None:
    """Earlier copies of the cookie and codes that are still out don't survive it; other
    applications and other sign-ins do."""
    laptop, phone = await house.sign_in(), await house.sign_in()
    there = [await house.token(laptop) for _ in range(3)]
    elsewhere = await house.token(phone)
    aim = destination(house.world, "wiki.example.com", WIKI_AUD, "/", meta_of(START))
    assert aim is not None
    code = await house.sessions.issue(house.world, aim, laptop, "")
    assert isinstance(code, Issued)
    sid = there[0]["sekisho"]["sid"]
    other = ApplicationSessionRow("other", sid, "b" * 64, "a", 0, 2**40, None)
    await house.store.sessions.begin_application(other)
    await house.revocations.one_application(there[1]["identity_nonce"], sid, WIKI_AUD)
    assert {(one["kind"], one["id"]) for one in house.published} == {
        ("nonce", claims["identity_nonce"]) for claims in there
    }
    assert not await house.revocations.known(elsewhere["identity_nonce"], "")
    assert await house.sessions.redeem(house.world, "wiki.example.com", code.code, START) is None
    row = await house.store.sessions.application("other")
    assert row is not None and row.ended is None and await house.sessions.live(sid) is not None


async def test_codes_of_one_sign_in_are_bounded(house: House) -> None:
    laptop = await house.sign_in()
    aim = destination(house.world, "wiki.example.com", WIKI_AUD, "/", meta_of(START))
    assert aim is not None
    codes = []
    for _ in range(MAX_CODES + 2):
        issued = await house.sessions.issue(house.world, aim, laptop, "")
        assert isinstance(issued, Issued)
        codes.append(issued.code)
        house.clock.advance(0.4)
    # two are void: of those that were given in the first second, which is as fine as their age is kept
    oldest = [await house.sessions.redeem(house.world, "wiki.example.com", code, START)
              for code in codes[:3]]
    assert oldest.count(None) == 2
    async with house.store._database.read() as connection:
        found = await connection.execute(text("SELECT count(*) FROM handoffs"))
        assert found.scalar_one() <= MAX_CODES
    assert await house.sessions.redeem(house.world, "wiki.example.com", codes[-1], START)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.5, float("nan")]])
def test_numbers_that_are_none_are_no_facts(value: Any) -> None:
    """A NaN differs from itself: it would void everything at every sign-in, and is not JSON."""
    assert plain(value) in (None, [1.5, None])
