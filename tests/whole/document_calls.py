"""schemathesis: calls of a running gateway, made from its own OpenAPI document."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from daemon import bare_environment
from visitors import Org

HONEST = Path(__file__).with_name("honest_callers.py")
#: Every check but one is made of every call; only which status may answer what is said more
#: exactly.
#: What is bad and over 1 MiB is told 413 before anybody reads it. A call that is not a WebSocket
#: handshake (schemathesis makes no others) is told 426 at /websocket, whatever it asks.
#: A number has something in it beside white space, of which no two languages know the same.
#: Of the calls that set another secret the first is obeyed; to the others it is an old one.
#: The OrgId in a path is always the real one, so that a ticket may be found where it was to be bad.
#: Events are kept for a time only: whoever asks again from before it is told 410.
#: What may be called is more than a type can say of the URL of a webhook.
#: A stream of events has no end that a caller could wait for; other tests read it.
#: DELETE takes one person's messages out of a list that stays: to read the list afterwards is no
#: use of what was deleted.
CONFIG = """
hooks = "{hooks}"

[checks]
negative_data_rejection.expected-statuses = ["400", "401", "404", "405", "413", "415", "422", "429"]

[parameters]
"path.org_id" = "{org_id}"
"path.secret_key" = "{secret}"

[[operations]]
include-path-regex = "^/events/"
enabled = false

[[operations]]
include-path = "/websocket"
checks.positive_data_acceptance.expected-statuses = ["401", "426"]
checks.negative_data_rejection.expected-statuses = ["400", "401", "422", "426"]

[[operations]]
include-path = "/tickets/{{org_id}}/{{ticket}}"
checks.negative_data_rejection.expected-statuses = ["200", "400", "401", "404", "409", "422"]

[[operations]]
include-path-regex = "^/hooks/"
checks.positive_data_acceptance.expected-statuses = ["200", "404", "409", "410", "422"]

[[operations]]
include-path = "/optouts/{{org_id}}/{{number}}"
checks.positive_data_acceptance.expected-statuses = ["200", "401", "403", "404", "422"]

[[operations]]
include-path = "/orgs/{{org_id}}/secret"
checks.positive_data_acceptance.expected-statuses = ["200", "403"]
"""


def hold_to_document(org: Org, home: Path, examples: int) -> int:
    """Make all checks of calls made of so many examples; how many calls were made of them."""
    for _ in range(3):
        org.store(org.sms())
        org.send()
    config = home / "schemathesis.toml"
    config.write_text(CONFIG.format(hooks=HONEST, org_id=org.id, secret=org.secret))
    program = str(Path(sys.executable).parent / "schemathesis")
    run = subprocess.run(
        [
            *(program, "--no-color", "--config-file", str(config)),
            *("run", f"{org.url}/openapi.json", "--header", f"X-Secret-Key: {org.secret}"),
            *(
                "--checks",
                "all",
                "--exclude-checks",
                "use_after_free",
                "--max-examples",
                str(examples),
                "--request-timeout",
                "30",
            ),
        ],
        cwd=home,
        env=bare_environment(HONEST_ORG=org.id, HONEST_SECRET=org.secret),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, shortened(run.stdout + run.stderr)
    assert len(org.read()) > 6  # good calls were among them
    (cases,) = re.findall(r"(\d+) generated", run.stdout)
    return int(cases)


def shortened(text: str) -> str:
    """What it found, without the megabytes that it found it with."""
    return "\n".join(line[:400] for line in text.splitlines())
