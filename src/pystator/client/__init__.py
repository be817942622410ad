"""A client of a service that ``pystator api`` runs.

::

    sync.py, asynchronous.py   Client and AsyncClient
    routes.py, bulk.py, machines.py   each call as a value: a request, and how its answer is read
    bodies.py, reading.py, problems.py   what is sent; answers as records, results and errors
    exchange.py                one call: try, wait, try again, give up. No I/O
    following.py, sse.py       the live feed, every row once. No I/O
    wire.py                    the two drivers, over httpx
    places.py, options.py      where a service is, and what a client is made with
"""

from pystator.db.extras import from_extra

with from_extra("client", "httpx"):
    from pystator.client.asynchronous import AsyncClient, AsyncStream
    from pystator.client.sync import Client, Stream

__all__ = ["AsyncClient", "AsyncStream", "Client", "Stream"]
