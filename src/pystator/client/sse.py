"""Server-sent events as they arrive: bytes in, events out."""

from collections.abc import Iterator

from pystator.client.calls import TooLongError
from pystator.records import record

__all__ = ["EventReader", "ServerEvent"]


@record
class ServerEvent:
    """One event; one without data only tells how far the stream is.

    Attributes:
        id: The last ``id`` that was told; None before the first.
    """

    id: str | None
    kind: str
    data: str


class EventReader:
    """Cuts what arrives into events; what the end cuts off is none.

    Args:
        most: Bytes of one event.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._size = 0
        self._id: str | None = None
        self._kind = ""
        self._data: list[str] = []

    def take(self, part: bytes) -> Iterator[ServerEvent]:
        """The events that are whole now.

        Raises:
            TooLongError: One is longer than is taken.
        """
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                yield event
        if len(self._rest) + self._size > self._most:
            raise TooLongError(self._most)

    def _line(self, raw: bytes) -> ServerEvent | None:
        if not raw:
            return self._whole()
        self._size += len(raw)
        if self._size > self._most:
            raise TooLongError(self._most)
        field, _, text = raw.decode("utf-8", "replace").partition(":")
        value = text.removeprefix(" ")
        if field == "id" and "\0" not in value:
            self._id = value
        elif field == "event":
            self._kind = value
        elif field == "data":
            self._data.append(value)
        return None

    def _whole(self) -> ServerEvent:
        event = ServerEvent(self._id, self._kind or "message", "\n".join(self._data))
        self._kind, self._data, self._size = "", [], 0
        return event
