"""The file of API keys: who may call, with which scopes, for which machines.

Laws of the file:

- It holds no key: only the SHA-256 of each. A key has 256 random bits, so there is nothing to guess
  and nothing to stretch.
- It is replaced as a whole (a file beside it, then a rename) under a lock, mode 0600: a reader sees
  the old one or the new one.
- What is revoked stays in it, so that its id is not given again and a log can be read later.
- Times are ISO 8601 in UTC, for people.
"""

import json
import os
import re
import secrets
import string
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

from pystator.errors import ConfigurationError, InvalidValueError
from pystator.records import from_datetime, record
from pystator.service.times import iso

__all__ = [
    "DEFAULT_FILE",
    "KEYS_FILE",
    "SCOPES",
    "ApiKey",
    "create_key",
    "digest_of",
    "key_id",
    "key_view",
    "keys_path",
    "parse_keys",
    "read_keys",
    "revoke_key",
]

KEYS_FILE: Final = "PYSTATOR_KEYS_FILE"
"""The environment variable that names the file."""

DEFAULT_FILE: Final = "pystator-keys.json"

SCOPES: Final = ("read", "send", "admin")
"""What a caller may do; ``admin`` implies the others."""

_FORMAT: Final = 1
_ID: Final = string.ascii_lowercase + string.digits
_KEY: Final = re.compile(r"pst_([a-z0-9]{12})_[A-Za-z0-9_-]{43}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST: Final = 255


@record
class ApiKey:
    """What is kept of a key.

    Attributes:
        id: The part of the key that may be seen: names it in lists and logs.
        name: Whose it is; kept in history as the actor.
        digest: SHA-256 of the whole key, in hexadecimal.
        scopes: Some of `SCOPES`.
        machines: The machines it is for; None for all.
        created_at: When it was made, like the others in microseconds.
        expires_at: From when on it is no longer valid; None for never.
        revoked_at: When it was taken back; None while it was not.
    """

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    machines: tuple[str, ...] | None
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def is_valid(self, now: int) -> bool:
        """It is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def keys_path(argument: str | Path | None = None) -> Path:
    """Where the keys are: the argument, then the environment, then the file of this folder.

    Raises:
        ConfigurationError: The environment says an empty name.
    """
    said = os.environ.get(KEYS_FILE) if argument is None else argument
    if said is None:
        return Path(DEFAULT_FILE)
    if not str(said).strip():
        raise ConfigurationError(f"{KEYS_FILE} is empty: name a file, or remove it")
    return Path(said)


def digest_of(key: str) -> str:
    """What the file keeps of a key."""
    return sha256(key.encode("utf-8", "replace")).hexdigest()


def key_id(key: str) -> str | None:
    """The id within a key; None when the text is no key of ours."""
    found = _KEY.fullmatch(key)
    return found[1] if found else None


# Reading ------------------------------------------------------------------------------------------


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """All keys of the file, revoked ones too.

    Raises:
        ConfigurationError: There is no such file, or it is none of keys.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the keys file cannot be read ({(error.strerror or 'an error').lower()}); "
            "`pystator keys create NAME` makes one",
            context={"file": str(path)},
        ) from error
    return parse_keys(text, path)


def parse_keys(text: bytes, path: Path) -> tuple[ApiKey, ...]:
    """The keys that a file says.

    Raises:
        ConfigurationError: It says none, or says one of them wrongly. What it says is not shown.
    """
    try:
        keys = tuple(_parse(each) for each in _listed(json.loads(text)))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _broken(path, error) from None
    if len({key.id for key in keys}) != len(keys):
        raise _broken(path, ValueError("two keys have the same id"))
    return keys


def _listed(said: object) -> list[object]:
    """The keys of a file in the form that this release knows.

    Raises:
        ValueError: It has another form; also KeyError and TypeError.
    """
    whole = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    if whole.get("version") != _FORMAT:
        raise ValueError(f'it has no "version": {_FORMAT}')
    keys: list[object] = whole["keys"]
    return keys


def _broken(path: Path, error: Exception) -> ConfigurationError:
    missing = isinstance(error, KeyError)
    why = f"there is no {error.args[0]!r}" if missing else str(error)
    return ConfigurationError(
        f"{path}: not a keys file: {why}; restore it, or make a new one with "
        "`pystator keys create NAME`",
        context={"file": str(path)},
    )


def _parse(said: object) -> ApiKey:
    """One key of the file.

    Raises:
        ValueError: It is said wrongly; also KeyError and TypeError.
    """
    if not isinstance(said, dict):
        raise TypeError("a key is an object")
    facts = cast("dict[str, Any]", said)
    machines = facts["machines"]
    key = ApiKey(
        _text(facts["id"], "id"),
        _text(facts["name"], "name"),
        _text(facts["sha256"], "sha256"),
        _texts(facts["scopes"], "scopes"),
        None if machines is None else _texts(machines, "machines"),
        from_datetime(datetime.fromisoformat(facts["created_at"])),
        _moment(facts.get("expires_at")),
        _moment(facts.get("revoked_at")),
    )
    if not _DIGEST.fullmatch(key.digest):
        raise ValueError(f"key {key.id!r} has no SHA-256")
    _check_scopes(key.scopes)
    return key


def _moment(said: str | None) -> int | None:
    return None if said is None else from_datetime(datetime.fromisoformat(said))


def _text(said: object, what: str) -> str:
    if not isinstance(said, str):
        raise TypeError(f"{what!r} is a text")
    return said


def _texts(said: object, what: str) -> tuple[str, ...]:
    if not isinstance(said, list):
        raise TypeError(f"{what!r} is a list")
    return tuple(_text(each, what) for each in cast("list[object]", said))


def _check_scopes(scopes: Sequence[str]) -> None:
    for scope in scopes:
        if scope not in SCOPES:
            raise ValueError(f"unknown scope {scope!r}; there are {', '.join(SCOPES)}")


# Changing -----------------------------------------------------------------------------------------


def create_key(
    path: Path,
    name: str,
    *,
    scopes: Sequence[str],
    machines: Sequence[str] | None,
    now: int,
    expires_at: int | None = None,
) -> tuple[str, ApiKey]:
    """A new key, written into the file, which is made when there is none.

    Returns:
        The key, which nobody sees again, and what is kept of it.

    Raises:
        InvalidValueError: The name, a scope or a machine cannot be one.
        ConfigurationError: The file cannot be read or written.
    """
    _check_new(name, scopes, machines)
    with _changing(path):
        keys = read_keys(path) if path.exists() else ()
        taken = {key.id for key in keys}
        identity = next(one for one in iter(_new_id, None) if one not in taken)
        text = f"pst_{identity}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            identity,
            name,
            digest_of(text),
            tuple(scope for scope in SCOPES if scope in scopes),
            None if machines is None else tuple(dict.fromkeys(machines)),
            now,
            expires_at,
        )
        _write(path, (*keys, key))
    return text, key


def _new_id() -> str:
    return "".join(secrets.choice(_ID) for _ in range(12))


def _check_new(name: str, scopes: Sequence[str], machines: Sequence[str] | None) -> None:
    """What a new key is given.

    Raises:
        InvalidValueError: It cannot be kept.
    """
    for what, text in (("name", name), *(("machine", machine) for machine in machines or ())):
        if not (0 < len(text) <= _LONGEST and text.isprintable() and text.strip() == text):
            raise InvalidValueError(
                f"the {what} of a key has 1 to {_LONGEST} printable characters, no space around"
                f" them: {text[:40]!r}",
                context={what: text[:_LONGEST]},
            )
    try:
        _check_scopes(scopes)
    except ValueError as error:
        raise InvalidValueError(str(error), context={"scopes": list(scopes)}) from None
    if not scopes:
        raise InvalidValueError(f"a key has at least one scope: {', '.join(SCOPES)}")


def revoke_key(path: Path, identity: str, *, now: int) -> tuple[ApiKey, bool]:
    """Take a key back: from now on it opens nothing.

    Returns:
        The key, and whether it was still valid before.

    Raises:
        ConfigurationError: There is no such key, or the file cannot be read or written.
    """
    with _changing(path):
        keys = read_keys(path)
        found = next((key for key in keys if key.id == identity), None)
        if found is None:
            raise ConfigurationError(
                f"{path}: no key has the id {identity!r}; `pystator keys list` shows them all",
                context={"file": str(path), "id": identity},
            )
        if found.revoked_at is not None:
            return found, False
        revoked = replace(found, revoked_at=now)
        _write(path, tuple(revoked if key is found else key for key in keys))
    return revoked, found.is_valid(now)


@contextmanager
def _changing(path: Path) -> Generator[None]:
    """One process at a time changes the file; a process that dies lets go.

    Raises:
        ConfigurationError: The folder cannot be written.
    """
    import fcntl  # the server reads without it

    lock = path.with_name(f".{path.name}.lock")
    try:
        number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the keys file cannot be written: {(error.strerror or str(error)).lower()}",
            context={"file": str(path)},
        ) from error


def _write(path: Path, keys: Sequence[ApiKey]) -> None:
    """Replace the file as a whole; a link to it stays a link."""
    target = path.resolve()
    said = {"version": _FORMAT, "keys": [_say(key) for key in keys]}
    number, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:  # mkstemp made it 0600
            json.dump(said, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(target)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _say(key: ApiKey) -> dict[str, Any]:
    return {**key_view(key), "sha256": key.digest}


def key_view(key: ApiKey) -> dict[str, Any]:
    """A key as plain data, without its hash."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "machines": None if key.machines is None else list(key.machines),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
    }
