"""What a service is given to run with: machines, and the code behind guards and actions."""

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pystator.engine.machine import StateMachine
from pystator.engine.registry import ActionRegistry, GuardRegistry
from pystator.errors import ConfigurationError
from pystator.orchestrator.settings import Validator

__all__ = ["Application", "load_application"]


class Application:
    """Machines and code, as ``pystator api --app module:factory`` takes them from a factory.

    Args:
        machines: Machines that are served beside those that the store keeps; of one name, these.
        guards: Guards by name, for all machines; by default those registered with each machine.
        actions: Actions by name, likewise.
        context_validator: Asked before the guards of every event, see `Orchestrator`.
        hooks: Observers of every event, see `TransitionHook`.

    Raises:
        ConfigurationError: Something is no machine, or two machines have one name.

    Example:
        >>> from pystator import StateMachine
        >>> door = StateMachine.from_dict({
        ...     "meta": {"machine_name": "door"},
        ...     "states": [{"name": "open", "type": "initial"}],
        ...     "transitions": [],
        ... })
        >>> sorted(Application([door]).machines)
        ['door']
    """

    def __init__(
        self,
        machines: Iterable[StateMachine] = (),
        guards: GuardRegistry | Mapping[str, Callable[..., Any]] | None = None,
        actions: ActionRegistry | Mapping[str, Callable[..., Any]] | None = None,
        context_validator: Validator | None = None,
        hooks: Sequence[object] | None = None,
    ) -> None:
        self.machines: dict[str, StateMachine] = {}
        self.guards = guards
        self.actions = actions
        self.context_validator = context_validator
        self.hooks = hooks
        for machine in machines:
            self._add(machine)

    def _add(self, machine: object) -> None:
        if not isinstance(machine, StateMachine):
            raise ConfigurationError(
                f"an application's machines are StateMachines, not {type(machine).__name__}:"
                " StateMachine.from_yaml(path) makes one"
            )
        if machine.name in self.machines:
            raise ConfigurationError(
                f"two machines of the application have the name {machine.name!r}: give one of them"
                " another meta.machine_name",
                context={"machine": machine.name},
            )
        self.machines[machine.name] = machine

    @classmethod
    def of(cls, made: object) -> "Application":
        """An application, or the machine or the machines that stand for one.

        Raises:
            ConfigurationError: It is none of these.
        """
        if made is None:
            return cls()
        if isinstance(made, Application):
            return made
        if isinstance(made, StateMachine):
            return cls([made])
        if isinstance(made, list | tuple):
            return cls(cast("Sequence[StateMachine]", made))
        raise ConfigurationError(
            "an application is an Application(machines=[...], guards=, actions=), a StateMachine or"
            f" a list of them, not {type(made).__name__}"
        )


def load_application(place: str) -> Application:
    """The application that ``module:factory`` names; the folder one is in is looked in first.

    Args:
        place: A module and a name in it: a function without arguments, or the application itself.

    Raises:
        ConfigurationError: There is no such thing, or it fails, or gives something else.
    """
    module, colon, name = place.partition(":")
    if not (colon and module and name):
        raise ConfigurationError(
            f"an application is named module:factory, e.g. shop.service:application, not {place!r}"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        made = getattr(importlib.import_module(module), name)
        if not isinstance(made, Application | StateMachine) and callable(made):
            made = made()
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the application {place!r} cannot be loaded: {type(error).__name__}: {error}",
            context={"application": place},
        ) from error
    return Application.of(made)
