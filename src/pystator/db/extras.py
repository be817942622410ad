"""Libraries that come with an extra: one place says which one to install."""

from collections.abc import Generator
from contextlib import contextmanager

from pystator.errors import ConfigurationError

__all__ = ["from_extra"]


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
            f"{missing} cannot be imported: pip install 'pystator[{extra}]'"
            + ("" if isinstance(error, ModuleNotFoundError) else f" ({error})"),
            context={"library": missing, "extra": extra},
        ) from error
