"""Who may start jobs: the admin's password, sessions that expire, a lock-out and an audit log.

There is no default password: until one is set, nobody is an admin. This module is independent of any UI.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sim2street.models.errors import ConfigError, Sim2StreetError, UnreadableError
from sim2street.models.storage.files import read_json, runs_folder, write_json

LOGGER: Final = logging.getLogger(__name__)
HASH_VARIABLE: Final = "SIM2STREET_ADMIN_PASSWORD_HASH"
MEMBERS_VARIABLE: Final = "SIM2STREET_ADMINS"
"""Environment variable: e-mail addresses or Hub names that may sign in as admin, separated by commas."""
BY_PASSWORD: Final = "password"
"""Name of whoever signed in with the password."""
SETTINGS: Final = "admin.json"
AUDIT: Final = "audit.jsonl"
LOCKOUT: Final = "lockout.json"
"""Number of wrong passwords and end of the lock-out, kept across restarts."""

SHORTEST: Final = 12
LONGEST: Final = 1024
# OWASP's password storage cheat sheet names N = 2^17, r = 8, p = 1 as scrypt's first choice: 128 MB and a third of a
# second. N = 2^15, p = 3 is its choice of equal strength for small machines: 32 MB.
COST: Final = (2**15, 8, 3)

IDLE_SECONDS: Final = 30 * 60.0
FREE_FAILURES: Final = 5
"""Wrong passwords before the lock-out begins, counted over all visitors."""
LOCK_SECONDS: Final = 30.0
"""Seconds of the first lock-out; every further failure doubles it."""
LONGEST_LOCK: Final = 15 * 60.0
MOST_FAILURES: Final = 1_000_000
AUDIT_BYTES: Final = 8 * 2**20


class AccessError(Sim2StreetError):
    """Access was denied, permanently or for now."""


def hash_password(password: str) -> str:
    """Return `scrypt$N$r$p$salt$key` of a password.

    Raises:
        ConfigError: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(f"A password must have {SHORTEST} to {LONGEST} characters; found {len(password)}.")
    salt = secrets.token_bytes(16)
    parts = [base64.b64encode(part).decode("ascii") for part in (salt, _derive(password, salt, COST))]
    return "$".join(["scrypt", *map(str, COST), *parts])


def is_password(password: str, stored: str) -> bool:
    """Whether a password matches a stored hash, compared in constant time."""
    cost, salt, key = _parse(stored)
    return hmac.compare_digest(_derive(password[:LONGEST], salt, cost), key)


def set_password(password: str) -> Path:
    """Store the hash in the runs folder, readable by its owner only; sessions under the old password end."""
    path = runs_folder() / SETTINGS
    path.parent.mkdir(parents=True, exist_ok=True)
    hashed = hash_password(password)
    before = os.umask(0o077)
    try:
        write_json(path, {"password_hash": hashed})
    finally:
        os.umask(before)
    return path


def stored_hash() -> str | None:
    """The current hash, from the environment or else from the runs folder; None if none is set.

    Raises:
        ConfigError: the stored value is not a valid hash.
    """
    named = os.environ.get(HASH_VARIABLE)
    if named:
        _parse(named)
        return named
    path = runs_folder() / SETTINGS
    if not path.exists():
        return None
    try:
        found = read_json(path)["password_hash"]
    except (UnreadableError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}). Set the password again: sim2street admin set-password"
        ) from error
    _parse(found)
    return found


def members() -> frozenset[str]:
    """Identities that may sign in as admin through a provider, in lower case."""
    return frozenset(part.strip().lower() for part in os.environ.get(MEMBERS_VARIABLE, "").split(",") if part.strip())


@dataclass
class _Session:
    who: str
    seen: float
    valid_for: str
    holder: str


@dataclass
class Gate:
    """Sessions and lock-out of one server process, shared by all its visitors.

    Args:
        clock: monotonic seconds, so that changing the system time unlocks nothing.
    """

    clock: Callable[[], float] = time.monotonic
    failures: int = 0
    locked_until: float = 0.0
    _remembered: bool = False
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sign_in(self, password: str, *, address: str = "", holder: str = "") -> str:
        """Return a new session's token, valid only for `holder`: a secret that the browser has to present again.

        Raises:
            AccessError: no password is set, it is wrong, or there were too many wrong ones.
        """
        with self._lock:  # one attempt at a time: guesses cannot run in parallel or exhaust memory
            self._remember()
            stored = stored_hash()
            if stored is None:
                raise AccessError("No password is set. Set one: sim2street admin set-password")
            wait = self.locked_until - self.clock()
            if wait > 0:
                raise AccessError(f"Too many wrong passwords. Try again in {_minutes(wait)}.")
            if not is_password(password, stored):
                self.failures += 1
                over = self.failures - FREE_FAILURES
                if over >= 0:
                    self.locked_until = self.clock() + min(LOCK_SECONDS * 2 ** min(over, 20), LONGEST_LOCK)
                self._keep()
                audit(BY_PASSWORD, "sign in refused", address=address, failures=self.failures)
                raise AccessError("Wrong password.")
            self.failures, self.locked_until = 0, 0.0
            self._keep()
            return self._open(BY_PASSWORD, _fingerprint(stored), address, holder)

    def _remember(self) -> None:
        """Load failures and lock-out of an earlier process, once, so that a restart grants no further guesses."""
        if self._remembered:
            return
        self._remembered = True
        try:
            kept = read_json(runs_folder() / LOCKOUT)
            failures, until = int(kept["failures"]), float(kept["locked_until"])
        except (UnreadableError, KeyError, TypeError, ValueError, OverflowError):
            return
        self.failures = max(self.failures, min(failures, MOST_FAILURES))
        # The file has the time of day, which may have been changed; no wait exceeds the longest lock-out.
        wait = min(max(until - time.time(), 0.0), LONGEST_LOCK)
        self.locked_until = max(self.locked_until, self.clock() + wait if wait else 0.0)

    def _keep(self) -> None:
        until = time.time() + max(self.locked_until - self.clock(), 0.0)
        try:
            runs_folder().mkdir(parents=True, exist_ok=True)
            write_json(runs_folder() / LOCKOUT, {"failures": self.failures, "locked_until": round(until, 1)})
        except OSError as error:
            LOGGER.error("%s could not be written: %s", runs_folder() / LOCKOUT, error.strerror)

    def admit(self, who: str, *, address: str = "", holder: str = "") -> str:
        """Return a new session's token for somebody whose identity a provider has verified.

        Raises:
            AccessError: they are not on the allow-list.
        """
        if who.strip().lower() not in members():
            audit(who, "sign in refused", address=address)
            raise AccessError(f"{who} is not one of the admins listed in {MEMBERS_VARIABLE}.")
        with self._lock:
            return self._open(who, "member", address, holder)

    def check(self, token: object, *, holder: str = "", touch: bool = True) -> str:
        """Return who a token's session belongs to; `touch` resets its idle time, which automatic refreshes must not do.

        Raises:
            AccessError: there is no such session, it was idle for too long, its rights were withdrawn, or it belongs to
                another browser.
        """
        with self._lock:
            session = self._sessions.get(token) if isinstance(token, str) else None
            if session is None:
                raise AccessError("Sign in first.")
            if self.clock() - session.seen > IDLE_SECONDS or not self._still_holds(session):
                del self._sessions[str(token)]
                raise AccessError("The session has ended; sign in again.")
            if not hmac.compare_digest(session.holder.encode(), holder.encode()):
                # The session stays open for its owner: a stranger who knows its id must not be able to end it.
                raise AccessError("This session belongs to another browser; sign in here.")
            if touch:
                session.seen = self.clock()
            return session.who

    def sign_out(self, token: object) -> None:
        """End a session."""
        with self._lock:
            if isinstance(token, str):
                self._sessions.pop(token, None)

    def _open(self, who: str, valid_for: str, address: str, holder: str) -> str:
        ended = [key for key, session in self._sessions.items() if self.clock() - session.seen > IDLE_SECONDS]
        for key in ended:
            del self._sessions[key]
        token = secrets.token_urlsafe(32)
        self._sessions[token] = _Session(who, self.clock(), valid_for, holder)
        audit(who, "signed in", address=address)
        return token

    def _still_holds(self, session: _Session) -> bool:
        if session.valid_for == "member":
            return session.who.strip().lower() in members()
        stored = stored_hash()
        return stored is not None and session.valid_for == _fingerprint(stored)


GATE: Final = Gate()
"""Of this process."""


def audit(who: str, action: str, **details: Any) -> None:
    """Append a line to the audit log: when, who, what, on which job. Never a password or token."""
    path = runs_folder() / AUDIT
    line = {"time": round(time.time(), 1), "who": who[:200], "action": action, **details}
    text = json.dumps(line, ensure_ascii=False)[:4000] + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > AUDIT_BYTES:
            path.replace(path.with_suffix(".1.jsonl"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        # A full disk must not lock out the person who can empty the trash; the line goes to the server's log instead.
        LOGGER.error("%s could not be written (%s): %s", path, error.strerror, text.strip())


def _derive(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * 2**20, dklen=32)


def _parse(stored: str) -> tuple[tuple[int, int, int], bytes, bytes]:
    try:
        kind, n, r, p, salt, key = stored.split("$")
        cost = int(n), int(r), int(p)
        if kind != "scrypt" or not (2**14 <= cost[0] <= 2**18 and 1 <= cost[1] <= 16 and 1 <= cost[2] <= 16):
            raise ValueError(f"{kind} with cost {cost}")
        return cost, base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            "The admin's password hash is not valid. Make one with: sim2street admin set-password --print"
        ) from error


def _fingerprint(stored: str) -> str:
    return hashlib.sha256(stored.encode()).hexdigest()


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
