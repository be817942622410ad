"""An answer leaves in one packet, and nothing stays behind."""

import asyncio

from pystator.api.server.cork import Cork


class Wire:
    """A transport that keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.sent.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


async def test_head_and_body_are_sent_together() -> None:
    wire = Wire()
    cork = Cork(wire, asyncio.get_running_loop())
    for number in (b"1", b"2"):
        cork.write(b"HTTP/1.1 200 OK\r\n\r\n")
        cork.write(number)
        cork.write(b"")
    assert wire.sent == [b"HTTP/1.1 200 OK\r\n\r\n1", b"HTTP/1.1 200 OK\r\n\r\n2"]
    await asyncio.sleep(0)
    assert len(wire.sent) == 2


async def test_a_head_whose_body_comes_later_does_not_wait_for_it() -> None:
    wire = Wire()
    cork = Cork(wire, asyncio.get_running_loop())
    cork.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert wire.sent == []
    await asyncio.sleep(0)
    assert wire.sent == [b"HTTP/1.1 200 OK\r\n\r\n"]
    cork.write(b"data: 1\n\n")
    assert wire.sent[1:] == [b"data: 1\n\n"]


async def test_what_is_held_back_is_sent_before_the_end() -> None:
    wire = Wire()
    cork = Cork(wire, asyncio.get_running_loop())
    cork.write(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    cork.close()
    assert (wire.sent, cork.is_closing()) == ([b"HTTP/1.1 304 Not Modified\r\n\r\n"], True)
    await asyncio.sleep(0)
    assert len(wire.sent) == 1
