"""Submit in one process, collect in another: python resume.py submit; python resume.py collect.

What lies between is one file with a task in it, which holds no key and no picture.
"""

import sys
from pathlib import Path

from apimaster import APIMaster, Task, TaskTimeoutError

NOTE = Path("task.json")


def submit() -> None:
    """Hand in the job and write down its task at once: from here on it is paid for."""
    with APIMaster() as client:
        task = client.submit("A map of an island, ink on paper", resolution="2K")
    NOTE.write_text(task.model_dump_json(), encoding="utf-8")
    print(f"submitted {task.id}")


def collect() -> None:
    """Wait for the task, however long ago it was submitted. Looking and fetching cost nothing."""
    task = Task.model_validate_json(NOTE.read_text(encoding="utf-8"))
    with APIMaster() as client:
        try:
            result = client.wait(task, timeout=600, save_to="island.png")
        except TaskTimeoutError as error:
            sys.exit(f"not yet: {error}")
    print(f"collected {result.images[0].path}")


if __name__ == "__main__":
    {"submit": submit, "collect": collect}[sys.argv[1]]()
