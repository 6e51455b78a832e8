"""Included files and what changed among them: joined, noticed, and only the change compiled."""

import os
from pathlib import Path

import pytest

from _fastpath.snapshot import Snapshot
from edge.config import Workshop
from tests.config.test_check import ALLOW, BASE
from tests.kit.policy_cases import KEYS, OBJECTS


def part(name: str, domain: str = "") -> str:
    return (
        f"applications:\n  - name: {name}\n    domain: {domain or name.lower() + '.example.com'}\n"
        f"    policies:\n      - {ALLOW}\n"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sekisho.yml").write_text(BASE + 'include: ["conf.d/*.yml"]\n')
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.yml").write_text(part("A"))
    (tmp_path / "conf.d" / "b.yml").write_text(part("B"))
    return tmp_path


def names(shop: Workshop) -> list[str]:
    loaded = shop.load()
    assert loaded.config is not None and loaded.ok, loaded.errors
    return [app.name for app in loaded.config.applications]


def errors(shop: Workshop) -> list[str]:
    return [str(p).replace(f"{shop.path.parent}/", "") for p in shop.load().errors]


def test_lists_are_joined_in_the_order_of_names(folder: Path) -> None:
    (folder / "sekisho.yml").write_text(BASE + 'include: ["conf.d/*.yml"]\n' + part("M"))
    assert names(Workshop(folder / "sekisho.yml")) == ["M", "A", "B"]


def test_one_pattern_needs_no_list(folder: Path) -> None:
    (folder / "sekisho.yml").write_text(BASE + "include: conf.d/*.yml\n")
    assert names(Workshop(folder / "sekisho.yml")) == ["A", "B"]
    (folder / "sekisho.yml").write_text(BASE + "include: conf.d/none.yml\n")
    (only,) = errors(Workshop(folder / "sekisho.yml"))
    assert only == f"sekisho.yml:{BASE.count(chr(10)) + 1}:10: there is no file “conf.d/none.yml”"


def test_names_are_unique_over_all_files(folder: Path) -> None:
    (folder / "conf.d" / "b.yml").write_text(part("A", "b.example.com"))
    (only,) = errors(Workshop(folder / "sekisho.yml"))
    assert only.startswith("conf.d/b.yml:2:11: there is another application “A”, in ")
    assert only.endswith("conf.d/a.yml:2")


def test_every_error_of_every_file_has_its_file(folder: Path) -> None:
    (folder / "conf.d" / "a.yml").write_text(part("A").replace("email:", "emial:"))
    (folder / "conf.d" / "b.yml").write_text("qqq: 1d\nincludes: x\n" + part("B"))
    (folder / "conf.d" / "c.yml").write_text("applications: [\n")
    assert errors(Workshop(folder / "sekisho.yml")) == [
        "conf.d/a.yml:5:47: there is no criterion “emial” (did you mean “email”?)",
        "conf.d/b.yml:1:1: there is no key “qqq” here",
        "conf.d/b.yml:2:1: there is no key “includes” here",
        "conf.d/c.yml:2:1: this is not YAML: did not find expected node content (a value is "
        "missing, or quote it)",
    ]


def test_one_change_compiles_one_application(folder: Path) -> None:
    (folder / "conf.d" / "a.yml").write_text(part("A") + part("C").partition("\n")[2])
    shop = Workshop(folder / "sekisho.yml")

    def compiled(version: int) -> tuple[int, bytes]:
        data = shop.compile(shop.load(), version=version, objects=OBJECTS, keys=KEYS)
        return shop.fragments.compiled, data

    assert compiled(1)[0] == 3
    assert compiled(2)[0] == 0
    text = (folder / "conf.d" / "a.yml").read_text()
    (folder / "conf.d" / "a.yml").write_text(text.replace("x@example", "y@example", 1))
    count, data = compiled(3)
    assert count == 1
    # and what is put together is what a fresh start makes of the same files
    fresh = Workshop(folder / "sekisho.yml")
    again = fresh.compile(fresh.load(), version=3, objects=OBJECTS, keys=KEYS)
    assert Snapshot(data).digest == Snapshot(again).digest


# -- changes are noticed


CHANGES = {
    "changed": lambda f: (f / "conf.d" / "a.yml").write_text(part("A2", "a.example.com")),
    "main file": lambda f: (f / "sekisho.yml").write_text(BASE),
    "added": lambda f: (f / "conf.d" / "c.yml").write_text(part("C")),
    "removed": lambda f: (f / "conf.d" / "a.yml").unlink(),
    "renamed": lambda f: (f / "conf.d" / "a.yml").rename(f / "conf.d" / "z.yml"),
    "replaced": lambda f: os.replace(f / "conf.d" / "b.yml", f / "conf.d" / "a.yml"),
    "mode": lambda f: (f / "conf.d" / "a.yml").chmod(0o600),
    "emptied": lambda f: (f / "conf.d" / "a.yml").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed_once(change, folder: Path) -> None:
    shop = Workshop(folder / "sekisho.yml")
    shop.load()
    assert not shop.changed()
    change(folder)
    assert shop.changed()
    shop.load()
    assert not shop.changed(), "also when what was read is wrong: it is not read again and again"


def test_links_are_followed_and_their_targets_watched(folder: Path) -> None:
    """A folder that is swapped by its link, as Kubernetes does it."""
    (folder / "v1").mkdir()
    (folder / "v2").mkdir()
    (folder / "v1" / "x.yml").write_text(part("V1"))
    (folder / "v2" / "x.yml").write_text(part("V2"))
    (folder / "now").symlink_to("v1")
    (folder / "sekisho.yml").write_text(BASE + "include: now/*.yml\n")
    shop = Workshop(folder / "sekisho.yml")
    assert names(shop) == ["V1"]
    (folder / "next").symlink_to("v2")
    os.replace(folder / "next", folder / "now")
    assert shop.changed()
    assert names(shop) == ["V2"]
    (folder / "v2" / "x.yml").write_text(part("V3"))
    assert shop.changed()


def test_a_pattern_in_the_folder_part_is_watched_too(folder: Path) -> None:
    (folder / "sekisho.yml").write_text(BASE + 'include: "teams/*/*.yml"\n')
    (folder / "teams" / "one").mkdir(parents=True)
    shop = Workshop(folder / "sekisho.yml")
    assert names(shop) == []
    (folder / "teams" / "one" / "x.yml").write_text(part("X"))
    assert shop.changed()
    assert names(shop) == ["X"]
    (folder / "teams" / "two").mkdir()
    assert shop.changed()
    shop.load()
    (folder / "teams" / "two" / "y.yml").write_text(part("Y"))
    assert shop.changed()
    assert names(shop) == ["X", "Y"]


def test_a_file_that_is_read_half_written_changes_nothing_and_is_read_again(folder: Path) -> None:
    shop = Workshop(folder / "sekisho.yml")
    shop.load()
    whole = part("A").replace("email:", "email_domain:").replace("x@example", "example")
    (folder / "conf.d" / "a.yml").write_text(whole[: whole.index("include") + 12])
    assert not shop.load().ok
    (folder / "conf.d" / "a.yml").write_text(whole)
    assert shop.changed()
    assert names(shop) == ["A", "B"]


def test_a_file_that_goes_between_listing_and_reading(folder: Path) -> None:
    (folder / "conf.d" / "c.yml").symlink_to("nowhere")
    (only,) = errors(Workshop(folder / "sekisho.yml"))
    assert only == (
        f"sekisho.yml:{BASE.count(chr(10)) + 1}:11: conf.d/c.yml can't be read: "
        f"No such file or directory"
    )


def test_a_rename_without_aud_is_told(folder: Path) -> None:
    shop = Workshop(folder / "sekisho.yml")
    snapshot = Snapshot(shop.compile(shop.load(), version=1, objects=OBJECTS, keys=KEYS))
    shop.running(snapshot.settings["applications"])
    aud = next(a for a, one in snapshot.settings["applications"].items() if one["name"] == "A")
    (folder / "conf.d" / "a.yml").write_text(part("Wiki", "a.example.com"))
    told = [str(p) for p in shop.load().warnings if "was called" in p.text]
    assert told == [
        f"{folder}/conf.d/a.yml:2:11: warning: this application was called “A”: its AUD tag "
        f"changes with the name and origins that check the old one refuse everybody. "
        f"Keep it with aud: {aud}"
    ]
    # with it nothing is told, and nothing changes
    (folder / "conf.d" / "a.yml").write_text(part("Wiki", "a.example.com") + f"    aud: {aud}\n")
    assert not [p for p in shop.load().warnings if "was called" in p.text]


def test_what_only_the_store_knows_is_warned_of(folder: Path) -> None:
    (folder / "conf.d" / "r.yml").write_text(
        "routes:\n  - {hostname: b.example.com, tunnel: nowhere}\n"
        "  - {hostname: c.example.com, tunnel: office}\n"
    )
    (folder / "conf.d" / "b.yml").write_text(
        part("B").replace("allow", "non_identity").replace("email: x@example.com",
                                                            "service_token: Nobody")
    )  # fmt: skip
    shop = Workshop(folder / "sekisho.yml")
    loaded = shop.load()
    shop.compile(loaded, version=1, objects=OBJECTS, keys=KEYS)
    assert [str(p).replace(f"{folder}/", "") for p in loaded.store_warnings] == [
        "conf.d/b.yml:5:69: warning: there is no service token “Nobody” yet: this rule is false "
        "until there is",
        "conf.d/r.yml:2:39: warning: there is no tunnel “nowhere” yet: b.example.com answers 502 "
        "until `sekisho tunnel create` makes it",
    ]
