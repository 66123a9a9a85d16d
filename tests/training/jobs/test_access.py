"""Attempts that must fail: no password, wrong ones by the hundred, forged tokens, idle sessions, changed passwords."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sim2street.models.errors import ConfigError
from sim2street.training.jobs import access
from sim2street.training.jobs.access import AccessError, Gate, hash_password, is_password, set_password, stored_hash

PASSWORD = "correct horse battery"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIM2STREET_RUNS", str(tmp_path))
    for name in (access.HASH_VARIABLE, access.MEMBERS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    # The cheapest cost that is accepted: a hundred guesses are tried below.
    monkeypatch.setattr(access, "COST", (2**14, 1, 1))
    return tmp_path


def lines(runs: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (runs / access.AUDIT).read_text().splitlines()]


def test_without_a_password_nobody_gets_in(runs: Path) -> None:
    assert stored_hash() is None
    with pytest.raises(AccessError, match="No password is set"):
        Gate().sign_in("")


def test_the_password_is_stored_as_a_salted_hash_for_its_owner_alone(runs: Path) -> None:
    path = set_password(PASSWORD)
    assert path.stat().st_mode & 0o077 == 0
    assert PASSWORD not in path.read_text()
    stored = stored_hash()
    assert stored is not None
    assert stored.startswith("scrypt$16384$")
    assert is_password(PASSWORD, stored)
    assert not is_password(PASSWORD + " ", stored)
    assert hash_password(PASSWORD) != stored
    with pytest.raises(ConfigError, match="12 to 1024 characters; found 5"):
        set_password("short")


@pytest.mark.parametrize("stored", ["", "plain", "scrypt$1$1$1$aa$bb", "scrypt$16384$1$1$!$!", "md5$16384$1$1$aa$bb"])
def test_what_is_no_hash_lets_nobody_in(runs: Path, stored: str) -> None:
    (runs / access.SETTINGS).write_text(json.dumps({"password_hash": stored}))
    with pytest.raises(ConfigError, match="set-password"):
        Gate().sign_in("")


def test_a_hundred_wrong_passwords_lock_the_door_for_everybody_and_for_longer_each_time(runs: Path) -> None:
    set_password(PASSWORD)
    clock = Clock()
    gate = Gate(clock)
    refusals: list[str] = []
    for number in range(100):
        with pytest.raises(AccessError) as caught:
            gate.sign_in(f"guess {number}", address=f"10.0.0.{number}")
        refusals.append(str(caught.value))
    assert refusals[:5] == ["Wrong password."] * 5
    assert all(words.startswith("Too many wrong passwords") for words in refusals[5:])
    with pytest.raises(AccessError, match="Too many"):
        gate.sign_in(PASSWORD)  # even the right one
    assert len(lines(runs)) == 5
    tried = 0
    for _ in range(3600):  # an hour of a guess a second
        clock.now += 1
        try:
            gate.sign_in("guess")
        except AccessError as error:
            tried += str(error) == "Wrong password."
    assert tried <= 10
    clock.now += access.LONGEST_LOCK + 1
    assert gate.check(gate.sign_in(PASSWORD)) == "password"
    assert all("guess" not in json.dumps(line) for line in lines(runs))


@pytest.mark.parametrize("token", [None, True, "", "admin", 1, {"who": "admin"}, ["password"], "x" * 43])
def test_forged_tokens_are_nobodys(runs: Path, token: object) -> None:
    set_password(PASSWORD)
    gate = Gate()
    gate.sign_in(PASSWORD)
    with pytest.raises(AccessError, match="Sign in first"):
        gate.check(token)


def test_sessions_end_when_idle_and_redrawing_pages_do_not_keep_them(runs: Path) -> None:
    set_password(PASSWORD)
    clock = Clock()
    gate = Gate(clock)
    token = gate.sign_in(PASSWORD)
    clock.now += access.IDLE_SECONDS - 1
    gate.check(token, touch=False)
    clock.now += 2
    with pytest.raises(AccessError, match="has ended"):
        gate.check(token, touch=False)
    token = gate.sign_in(PASSWORD)
    for _ in range(4):
        clock.now += access.IDLE_SECONDS - 1
        gate.check(token)
    gate.sign_out(token)
    with pytest.raises(AccessError):
        gate.check(token)


def test_a_new_password_ends_sessions_under_the_old_one(runs: Path) -> None:
    set_password(PASSWORD)
    gate = Gate()
    token = gate.sign_in(PASSWORD)
    set_password(PASSWORD + "!")
    with pytest.raises(AccessError, match="has ended"):
        gate.check(token)


def test_members_get_in_while_the_list_names_them(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with pytest.raises(AccessError, match="not one of the admins"):
        gate.admit("ada@example.org")
    monkeypatch.setenv(access.MEMBERS_VARIABLE, "grace@example.org, Ada@example.org")
    token = gate.admit("ada@example.org")
    assert gate.check(token) == "ada@example.org"
    monkeypatch.setenv(access.MEMBERS_VARIABLE, "grace@example.org")
    with pytest.raises(AccessError, match="has ended"):
        gate.check(token)
    assert [line["action"] for line in lines(runs)] == ["sign in refused", "signed in"]


def test_a_full_disk_keeps_no_admin_out(
    runs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever comes to empty the trash gets in, and what is done is in the server's own log."""
    set_password(PASSWORD)
    (runs / access.AUDIT).symlink_to("/dev/full")
    gate = Gate()
    assert gate.check(gate.sign_in(PASSWORD)) == "password"
    assert "signed in" in caplog.text
    assert PASSWORD not in caplog.text


def test_the_command_sets_it_and_prints_no_password(runs: Path) -> None:
    command = [sys.executable, "-m", "sim2street.training.cli", "admin", "set-password", "--stdin"]
    done = subprocess.run(command, input=PASSWORD + "\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    stored = stored_hash()
    assert stored is not None
    assert is_password(PASSWORD, stored)
    short = subprocess.run(command, input="short\n", capture_output=True, text=True, timeout=60)
    assert short.returncode == 2
    assert "12 to 1024" in short.stderr


def test_a_restart_gives_nobody_more_guesses(runs: Path) -> None:
    set_password(PASSWORD)
    first = Gate()
    for _ in range(access.FREE_FAILURES):
        with pytest.raises(AccessError, match="Wrong password"):
            first.sign_in("wrong")
    with pytest.raises(AccessError, match="Too many wrong passwords"):
        Gate().sign_in(PASSWORD)


@pytest.mark.parametrize("kept", ["{", "[]", '{"failures": "x", "locked_until": 1}'])
def test_a_damaged_lockout_locks_nobody_out(runs: Path, kept: str) -> None:
    set_password(PASSWORD)
    (runs / access.LOCKOUT).write_text(kept)
    assert Gate().sign_in(PASSWORD)


def test_nobody_waits_longer_than_the_longest_lock_whatever_the_clock_said(runs: Path) -> None:
    set_password(PASSWORD)
    (runs / access.LOCKOUT).write_text('{"failures": 2, "locked_until": 1e300}')
    clock = Clock()
    gate = Gate(clock=clock)
    with pytest.raises(AccessError, match="Try again in 15 minutes"):
        gate.sign_in(PASSWORD)
    clock.now += access.LONGEST_LOCK + 1
    assert gate.sign_in(PASSWORD)
