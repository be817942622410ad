"""Runs one server while a test run lives: ``python watch.py PID FOLDER USER STOP -- COMMAND ...``.

When the process PID is gone, however it went, the server is ended and its folder removed. So no
crash of a test run leaves a server behind, and nobody has to remember to stop one. While the server
runs, the file ``pid`` of the folder has its process id.

Args: the process to watch; the server's folder; the user id to run it as (``-`` for our own); the
signal that ends it in good order; the server's command.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 10.0


def main() -> None:
    owner, folder, user, stop = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    command = sys.argv[sys.argv.index("--") + 1 :]
    wanted = False

    def end(_signal: int, _frame: object) -> None:
        nonlocal wanted
        wanted = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C of a test run: its end is seen below
    who = {} if user == "-" else {"user": int(user), "group": int(user), "extra_groups": []}
    home = {**os.environ, "HOME": str(folder)}  # another user may not look into ours
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=home,
            **who,
        )
    (folder / "pid.new").write_text(str(server.pid))
    (folder / "pid.new").replace(folder / "pid")
    while server.poll() is None and not wanted and _lives(owner):
        time.sleep(0.1)
    if server.poll() is None:
        server.send_signal(stop)
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    (folder / "pid").unlink(missing_ok=True)
    if not _lives(owner):
        shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main()
