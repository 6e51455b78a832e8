"""Another master key under a running edge: who is signed in stays so, through kills and restarts."""

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.edge_process import EdgeProcess, wait_until
from tests.security.checkpoint import Checkpoint
from tests.security.rows import A, request


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    checkpoint = Checkpoint(tmp_path_factory.mktemp("rotation"))
    checkpoint.visitor()
    yield checkpoint
    checkpoint.close()


def rotate(edge: EdgeProcess, *words: str, status: int = 0) -> str:
    done = edge.command(
        "edge", "rotate-keys", "--master", *words, "-c", str(edge.config), check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def kids(place: Checkpoint) -> set[str]:
    with place.client() as one:
        one.send(request(first="GET /cdn-cgi/access/certs HTTP/1.1", host="login.sekisho.localhost"))
        answer = one.answer()
    return {key["kid"] for key in json.loads(answer.body)["keys"]} if answer.status == 200 else set()


def check_signed_in(place: Checkpoint, before: set[str]) -> None:
    """The token is still good, the sign-in still opens doors, and the signing keys are the same."""
    wait_until(lambda: kids(place) == before, 20)
    with place.client() as one:
        one.send(request(f"Cookie: {place.cookie(A)}", host=A))
        assert one.answer().status == 200
    place.fresh(A)


def restart(edge: EdgeProcess) -> None:
    assert edge.stop() == 0
    edge.start()


def test_sessions_live_through_it(place: Checkpoint) -> None:
    edge, file = place.edge, place.edge.state / "keys" / "master.key"
    before, old = kids(place), file.read_text()
    said = rotate(edge)
    new = file.read_text()
    assert new != old and new.split()[1] in said and str(file) in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(file.parent.glob("*.new"))
    check_signed_in(place, before)
    edge.kill("control")
    edge.wait_ready()
    check_signed_in(place, before)
    restart(edge)
    check_signed_in(place, before)
    said += edge.text() + (place.folder / "access.log").read_text()
    for key in (old, new):
        assert key.split()[2] not in said
    file.write_text(old)  # what is retired opens nothing
    edge.stop()
    edge.start(wait=False)
    assert edge.process is not None and edge.process.wait(60) == 78
    file.write_text(new)
    edge.start()


def test_a_credential_is_replaced_by_its_owner(place: Checkpoint, tmp_path: Path) -> None:
    """systemd hands the key over: the edge can't change where it comes from, and waits."""
    edge, given = place.edge, tmp_path / "credentials"
    fresh, before = tmp_path / "master.key.new", kids(place)
    given.mkdir(mode=0o700)
    shutil.move(edge.state / "keys" / "master.key", given / "master.key")
    old = (given / "master.key").read_text()
    edge.env["CREDENTIALS_DIRECTORY"] = str(given)
    restart(edge)
    assert "--key-file" in rotate(edge, status=1)
    damaged = tmp_path / "damaged"
    damaged.write_text("id: x")
    damaged.chmod(0o600)
    assert "damaged" in rotate(edge, "--key-file", str(damaged), status=1)
    said = rotate(edge, "--key-file", str(fresh))
    assert said == rotate(edge, "--key-file", str(fresh)), "asked again, it says the same"
    assert "restart the edge" in said and str(given) in said
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o600 and fresh.read_text().split()[2] not in said
    assert "restart the edge first" in rotate(edge, "--key-file", str(tmp_path / "x"), status=1)
    check_signed_in(place, before)
    edge.kill("control")  # comes back with the old key, which is all that it is given
    edge.wait_ready()
    assert "holds the retired master key" in edge.text()
    check_signed_in(place, before)
    shutil.move(fresh, given / "master.key")
    restart(edge)
    check_signed_in(place, before)
    (given / "master.key").write_text(old)
    edge.stop()
    edge.start(wait=False)
    assert edge.process is not None and edge.process.wait(60) == 78
