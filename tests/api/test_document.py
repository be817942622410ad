"""The OpenAPI document is true: made-up requests by it, and against it, are answered as it says.

Schemathesis makes them, with all of its checks, and follows the links from answer to request.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from servers.service import Service

CONFIGURATION = """
# What is right by the schema may still be wrong: a trigger that the machine does not have, a version
# that is not there any more, a URL that is too long with all of its parameters together.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 412, 414, 422, 429, 501]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 408, 413, 414, 415, 422, 429, 431]

[[operations]]
include-path = "/api/v1/transitions/stream"
parameters = { "query.seconds" = 0.05 }
"""

APPLICATION = """
from pystator import StateMachine
from pystator.api import Application

def application():
    return Application([StateMachine.from_yaml({path!r})])
"""

ORDER = Path(__file__).parents[2] / "examples" / "order.yaml"


@pytest.mark.parametrize(
    ("least", "options"),
    [
        (300, ["--phases", "examples,fuzzing,stateful", "--max-examples", "10"]),
        pytest.param(2_000, ["--max-examples", "25"], marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(900)
def test_nothing_is_found(least: int, options: list[str], tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    (tmp_path / "shop.py").write_text(APPLICATION.format(path=str(ORDER)))
    with Service(tmp_path, "sqlite:///shop.db", app="shop:application") as served:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                *("--config-file", "schemathesis.toml", "run"),
                f"{served.url}/api/v1/openapi.json",
                *("--checks", "all", "--seed", "1", "--suppress-health-check", "all"),
                *options,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
        found = re.search(r"([\d,]+) generated, ([\d,]+) passed", done.stdout)
        assert found is not None, done.stdout
        assert found[1] == found[2]
        assert int(found[1].replace(",", "")) >= least, done.stdout
        assert "Traceback" not in served.log
