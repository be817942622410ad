"""Work on machines that strangers sent, done in processes that may be ended at any moment.

`pystator.service.workroom.pool` is the service's side, `pystator.service.workroom.worker` the
program of a worker, `pystator.service.workroom.tasks` what it can do.
"""
