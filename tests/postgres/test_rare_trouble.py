"""Trouble that is seldom met: it takes two things that go wrong at once, or an odd error."""

import os

from pystator import PostgresStateStore
from servers.sessions import turn


class TestForks:
    def test_a_child_finds_out_that_it_lost_a_connection_of_its_own(self, postgres_url):
        with PostgresStateStore(postgres_url, pool_size=1, timeout=3) as store:
            turn(store)
            link = store.parts[0]
            child = os.fork()
            if child == 0:  # pragma: no cover - another process
                try:
                    turn(store)
                    link._take()  # and nobody keeps it
                    turn(store)
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            _, status = os.waitpid(child, 0)
            assert status == 0
            assert turn(store) == 4
