"""PyStator: persistent state machines."""

from pystator._version import __version__

__all__ = ["__version__"]
