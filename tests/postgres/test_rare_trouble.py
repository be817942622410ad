"""Trouble that is seldom met: it takes two things that go wrong at once, or an odd error."""

import os

import psycopg

from pystator import PostgresStateStore
from pystator.stores.postgres.rows import rows_of
from pystator.stores.postgres.wire import Statement
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


class Quotients:
    """A stream that divides by 0 now and then."""

    reads = True
    quotient = Statement("quotient", "SELECT 1 / $1", (20,))

    def __init__(self, *divisors):
        self._divisors = divisors
        self.failed = []

    def requests(self):
        return ((self.quotient, [number.to_bytes(8)]) for number in self._divisors)

    def take(self, number, result):
        self.failed.append(isinstance(result, psycopg.Error))


def test_errors_of_values_leave_no_prepared_statements_behind(postgres_url):
    count = Statement("count", "SELECT count(*)::int8 FROM pg_prepared_statements", ())
    with PostgresStateStore(postgres_url, pool_size=1) as store:
        link = store.parts[0]
        for _ in range(3):
            stream = Quotients(0, 1, 0, 2)
            link.run_all(stream)
            assert stream.failed == [True, False, True, False]
        assert rows_of(link.run(count, (), reads=True)) == [(2,)]
