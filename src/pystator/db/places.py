"""Where a URL may be written: the environment, then ``pystator.cfg`` here, then the user's own."""

import configparser
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pystator.errors import ConfigurationError

__all__ = ["CONFIG_FILE", "DATABASE_URL", "MONGODB_URL", "REDIS_URL", "places"]

DATABASE_URL: Final = "PYSTATOR_DATABASE_URL"
"""The environment variable, and the key in the file."""

REDIS_URL: Final = "PYSTATOR_REDIS_URL"
MONGODB_URL: Final = "PYSTATOR_MONGODB_URL"

CONFIG_FILE: Final = "pystator.cfg"
SECTION: Final = "database"

_NAMES: Final = (DATABASE_URL, REDIS_URL, MONGODB_URL)
_KEYS: Final = {name.lower(): name for name in _NAMES}
"""What the section may say: keys are named like the variables, in any case."""


def places(
    environ: Mapping[str, str] | None, folder: Path, home: Path | None
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each place and the URLs it says, by variable, the first place first; read one by one.

    A place is named for messages: ``""`` is the environment.

    Raises:
        ConfigurationError: A file says it wrongly.
    """
    source = os.environ if environ is None else environ
    yield "", {name: source[name] for name in _NAMES if name in source}
    for place in (folder / CONFIG_FILE, _home(home) / ".pystator" / CONFIG_FILE):
        yield str(place), _read(place)


def _read(place: Path) -> dict[str, str]:
    """The URLs a file says; none when there is no file, or nothing in it about a database."""
    # Only "=": a URL holds a colon, and a line that lost its "=" must not become another key.
    parser = configparser.RawConfigParser(delimiters=("=",))
    try:
        with place.open(encoding="utf-8") as text:
            parser.read_file(text, str(place))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place} cannot be read: {error}") from error
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or getattr(error, "errors", [(None,)])[0][0]
        raise ConfigurationError(
            f"{place}{f':{line}' if line else ''}: not an INI file; write\n"
            f"[{SECTION}]\n{DATABASE_URL} = sqlite:///pystator.db",
            context={"file": str(place), "line": line},
        ) from None  # the parser's message quotes the line, which may hold a password
    said = parser.options(SECTION) if parser.has_section(SECTION) else []
    unknown = set(said) - _KEYS.keys()
    if unknown:
        raise ConfigurationError(
            f"{place}: [{SECTION}] has no key {min(unknown)!r}; there are "
            f"{', '.join(sorted(_NAMES))}",
            context={"file": str(place), "key": min(unknown)},
        )
    _check_sections(parser, place)
    return {_KEYS[key]: parser.get(SECTION, key) for key in said}


def _check_sections(parser: configparser.RawConfigParser, place: Path) -> None:
    """Refuse a file that names a database where nobody looks: it would be the default instead.

    Raises:
        ConfigurationError: It does.
    """
    said = {name: parser.options(name) for name in parser.sections() if name != SECTION}
    said[parser.default_section] = [] if parser.has_section(SECTION) else list(parser.defaults())
    for name, keys in said.items():
        for key in _KEYS.keys() & keys:
            raise ConfigurationError(
                f"{place}: {_KEYS[key]} is under [{name}]; write it under [{SECTION}]",
                context={"file": str(place), "section": name},
            )


def _home(home: Path | None) -> Path:
    if home is not None:
        return home
    try:
        return Path.home()
    except RuntimeError:  # a user without an entry and without HOME has no file there
        return Path("/nonexistent")
