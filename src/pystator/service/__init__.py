"""What the HTTP API and the command line share: it knows neither of them.

::

    api, cli                 faces: read a request, call a service, show the answer
       |
    service                  machines by name, entities, views of records
       |
    orchestrator, stores

Everything here is for asyncio.
"""
