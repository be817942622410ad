"""Libraries that come with an extra: one place says which one to install.

A public name whose library is missing can be imported all the same, e.g. by ``from pystator import
*`` or by a module that may use several stores; the error comes when it is used.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, NoReturn

from pystator.errors import ConfigurationError

__all__ = ["from_extra", "stand_in"]

_LIBRARY: Final = "library"


@contextmanager
def from_extra(extra: str, *libraries: str) -> Generator[None]:
    """Around an import: a library of the extra that is not there is told with what to install.

    Args:
        extra: The name of the extra, e.g. ``postgres``.
        libraries: The top-level modules that it brings.

    Raises:
        ConfigurationError: One of them is missing.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in libraries:
            raise
        raise ConfigurationError(
            f"{missing} cannot be imported: it comes with the extra {extra!r} of PyStator,"
            f" in a clone pip install '.[{extra}]'"
            + ("" if isinstance(error, ModuleNotFoundError) else f" ({error})"),
            context={_LIBRARY: missing, "extra": extra},
        ) from error


def stand_in(name: str, missing: ConfigurationError) -> type:
    """A class in the place of one whose library is missing: it cannot be made.

    Args:
        name: The name of the class.
        missing: The error of its import.

    Raises:
        ConfigurationError: ``missing`` itself, when it is about something else.
    """
    if _LIBRARY not in missing.context:
        raise missing

    def refuse(cls: type, *_: object, **__: object) -> NoReturn:
        """Say what to install."""
        del cls
        raise ConfigurationError(missing.message, context=missing.context) from missing

    return type(name, (), {"__new__": refuse, "__doc__": f"Not installed: {missing.message}."})
