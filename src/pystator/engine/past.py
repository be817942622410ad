"""What a session remembers of its events: everything but the context each of them led to."""

from typing import Any

from pystator.engine.result import Facts, TransitionResult

__all__ = ["PastResult"]


class PastResult(TransitionResult):
    """The result of an earlier event: a `TransitionResult` without ``context``."""

    __slots__ = ()

    def __init__(self, facts: Facts, now: int) -> None:
        self.facts = facts
        self.success = facts.success
        self.target_state = facts.target_state
        self.now = now

    def __getattr__(self, name: str) -> Any:
        if name == "context":
            raise AttributeError(
                "history keeps no contexts: read `context` of what send(...) returned,"
                " or the session's own"
            )
        raise AttributeError(f"a result has no attribute {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data, without a context."""
        plain = TransitionResult(self.facts, {}, self.now).to_dict()
        del plain["context"]
        return plain

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (TransitionResult(self.facts, {}, self.now),)


def _again(result: TransitionResult) -> PastResult:
    return PastResult(result.facts, result.now or 0)
