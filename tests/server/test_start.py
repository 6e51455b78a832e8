"""From a configuration to a plan, and what a reload can't change."""

from pathlib import Path

import pytest

from edge.cli.admin_client import AdminError, run_folder_of
from edge.config import load
from edge.server.plan import Listener, Plan, inherited_plan, plan_file
from edge.server.start import StartRefused, plan_of, restart_needed

TEXT = """
auth_domain: login.sekisho.localhost
demo: true
plain: ["127.0.0.1:8080"]
listen: ["127.0.0.1:8443", "[::1]:8443"]
redirect: ["127.0.0.1:8081"]
tunnel_listen: ["127.0.0.1:8444"]
monitor: 127.0.0.1:9180
workers: 3
"""


def loaded_of(folder: Path, text: str):
    path = folder / "sekisho.yml"
    path.write_text(text)
    return load(path)


def test_plan(tmp_path):
    plan = plan_of(loaded_of(tmp_path, TEXT + f"state: sqlite:///{tmp_path}/s/state.db\n"))
    assert plan.listeners == (
        Listener("tls", "127.0.0.1", 8443), Listener("tls", "::1", 8443),
        Listener("plain", "127.0.0.1", 8080), Listener("redirect", "127.0.0.1", 8081),
        Listener("tunnel", "127.0.0.1", 8444),
    )
    assert (plan.state_folder, plan.run_folder) == (f"{tmp_path}/s", f"{tmp_path}/s/run")
    assert (plan.workers, plan.monitor, plan.drain) == (3, "127.0.0.1:9180", 30.0)
    assert Plan.decode(plan.encode()) == plan
    fd = plan_file(plan)
    assert inherited_plan({"SEKISHO_PLAN_FD": str(fd)}) == plan


def test_errors_start_nothing(tmp_path):
    with pytest.raises(StartRefused) as refused:
        plan_of(loaded_of(tmp_path, TEXT + "lisen: x\nworkers: 2\n"))
    assert len(refused.value.problems) >= 2
    assert all(problem.startswith(f"{tmp_path}/sekisho.yml:") for problem in refused.value.problems)


def test_socket_path_that_is_too_long(tmp_path):
    text = TEXT + f"state: sqlite:///{tmp_path}/{'x' * 100}/state.db\n"
    with pytest.raises(StartRefused, match="too long a path for Unix sockets"):
        plan_of(loaded_of(tmp_path, text))


def test_what_a_reload_cannot_change_is_said(tmp_path):
    state = f"state: sqlite:///{tmp_path}/state.db\n"
    plan = plan_of(loaded_of(tmp_path, TEXT + state))
    assert restart_needed(plan, loaded_of(tmp_path, TEXT + state + "organization: X\n")) == []
    changed = TEXT.replace("workers: 3", "workers: 4").replace("8081", "8082") + state
    listeners, workers = restart_needed(plan, loaded_of(tmp_path, changed))
    assert "listen, plain, redirect" in listeners and "workers changed" in workers


@pytest.mark.parametrize(("text", "folder"), [
    ("run_folder: /run/sekisho", "/run/sekisho"),
    ("run_folder: r  # here", "{base}/r"),
    ("state_folder: '/srv/s'", "/srv/s/run"),
    ("state: sqlite:////srv/x/state.db", "/srv/x/run"),
    ("state: postgresql://h/db", "/var/lib/sekisho/run"),
    ("auth_domain: x", "/var/lib/sekisho/run"),
    ("]] broken [[\nstate_folder: /srv/s\n\t- x", "/srv/s/run"),
    ("a:\n  state_folder: /not/this", "/var/lib/sekisho/run"),
])
def test_command_line_finds_the_socket_even_beside_errors(tmp_path, text, folder):
    path = tmp_path / "sekisho.yml"
    path.write_text(text)
    assert str(run_folder_of(path)) == folder.format(base=tmp_path)


def test_command_line_says_what_it_cannot_read(tmp_path):
    with pytest.raises(AdminError, match=r"can't read .*none.yml: No such file"):
        run_folder_of(tmp_path / "none.yml")
