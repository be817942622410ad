"""``--code FILE.py``: guards and actions of a machine, from a Python file."""

import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystator.cli.output import without_prints
from pystator.errors import ConfigurationError

__all__ = ["load_code"]


def load_code(path: Path | None, *, json: bool = False) -> tuple[Any, Any]:
    """``guards`` and ``actions`` of a Python file: registries or mappings, None where it has none.

    Raises:
        ConfigurationError: There is no such file, it fails, or it has neither.
    """
    if path is None:
        return None, None
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file (--code takes a Python file)")
    with without_prints(json=json):
        names = run_file(path)
    guards, actions = names.get("guards"), names.get("actions")
    if guards is None and actions is None:
        raise ConfigurationError(f"{path}: defines neither `guards` nor `actions`")
    return guards, actions


def run_file(path: Path) -> Mapping[str, Any]:
    """Import a file by its path, with its folder importable; its names."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        where = place(error, path)
        raise ConfigurationError(f"{where}: {type(error).__name__}: {error}") from error
    return vars(module)


def place(error: BaseException, path: Path) -> str:
    """``file:line`` of the user's own line that failed."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or path}:{error.lineno or 1}"
    own = path.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == own]
    return f"{path}:{lines[-1]}" if lines else str(path)
