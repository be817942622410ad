"""One test body, two faces: blocking methods and their ``a``-twins."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import pytest

__all__ = ["AsyncFace", "Driver", "StoreTests", "SyncFace"]

T = TypeVar("T")


class Driver:
    """A store as tests call it: ``drive.load(...)`` is ``load``, or ``aload`` on a loop of its own.

    Args:
        store: The store.
        face: ``"sync"`` or ``"async"``.
    """

    def __init__(self, store: Any, face: str) -> None:
        self.store = store
        self.face = face
        self._runner = asyncio.Runner() if face == "async" else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            self._runner.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._runner is None:
            return cast("Callable[..., Any]", getattr(self.store, name))
        twin = getattr(self.store, f"a{name}")
        runner = self._runner

        def call(*args: Any, **options: Any) -> Any:
            return runner.run(twin(*args, **options))

        return call

    def orchestrate(self, orchestrator: Any, name: str, *args: Any, **options: Any) -> Any:
        """Call a method of an orchestrator over the store, or its ``async_`` twin."""
        if self._runner is None:
            return getattr(orchestrator, name)(*args, **options)
        return self._runner.run(getattr(orchestrator, f"async_{name}")(*args, **options))

    def together(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Make the calls at once, from a thread or a task each; their answers or exceptions.

        Args:
            calls: The name of the method and its arguments, for each.
        """
        if self._runner is None:
            return _in_threads(
                [_bound(getattr(self.store, name), arguments) for name, arguments in calls]
            )
        coroutines = [getattr(self.store, f"a{name}")(*arguments) for name, arguments in calls]
        return self._runner.run(_gather(coroutines))

    def many(self, work: "Callable[[Driver], None]", count: int) -> None:
        """Run the work so many times at once, each in a thread with a driver of its own.

        Raises:
            Exception: The first that the work raised.
        """

        def run() -> None:
            with Driver(self.store, self.face) as driver:
                work(driver)

        for answer in _in_threads([run] * count):
            if isinstance(answer, BaseException):
                raise answer


def _bound(method: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: method(*arguments)


def _in_threads(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    answers: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(index: int) -> None:
        start.wait()
        try:
            answers[index] = calls[index]()
        except Exception as error:  # noqa: BLE001 - it is the answer
            answers[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


async def _gather(coroutines: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    return list(await asyncio.gather(*coroutines, return_exceptions=True))


class StoreTests:
    """What every topic of the contract needs: a fresh store, and a driver for each face."""

    def make_store(self, path: Path) -> Any:
        """A store over the data in this folder; it may be called again with the same folder.

        Args:
            path: A folder of the test's own, empty at first.
        """
        name = type(self).__name__
        raise AssertionError(f"{name} has no make_store(path): return a store over {path}")

    @pytest.fixture(params=["sync", "async"])
    def face(self, request: pytest.FixtureRequest) -> str:
        """The face a test runs over."""
        return cast("str", request.param)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Any]:
        """A fresh store, connected where it can be."""
        store = self.make_store(tmp_path)
        if hasattr(store, "connect"):
            store.connect()
        yield store
        if hasattr(store, "disconnect"):
            store.disconnect()

    @pytest.fixture
    def drive(self, store: Any, face: str) -> Iterator[Driver]:
        """The store behind the face."""
        with Driver(store, face) as driver:
            yield driver


class SyncFace:
    """Mixed in first: the store has only blocking methods."""

    @pytest.fixture
    def face(self) -> str:
        """The face a test runs over."""
        return "sync"


class AsyncFace:
    """Mixed in first: the store has only async methods."""

    @pytest.fixture
    def face(self) -> str:
        """The face a test runs over."""
        return "async"
