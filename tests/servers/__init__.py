"""Real servers for the tests: found, started, and ended whatever becomes of the run.

::

    find.py       where the programs of a server are: a URL, this machine, a wheel
    watch.py      a process that runs one server for as long as the test run lives
    shared.py     made once by the processes of a run that share it
    program.py    a server program of our own: starting it, killing it, freezing it
    service.py    `pystator api`: starting it, killing it, asking it
    redis.py      Redis and Valkey, and places for keys in them
    cluster.py    a Redis Cluster of three nodes
    mongodb.py    MongoDB, and databases in it
    postgres.py   PostgreSQL: starting it, killing it, databases in it
    pooler.py     a pooler of transactions, as merciless as one may be
    sessions.py   sessions of a PostgreSQL server: who is there, cutting them off

A server runs in a temporary folder, over a socket in it or on a free port of loopback, and as an
unprivileged user when the tests run as root and that user can read the programs.
"""
