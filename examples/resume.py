"""Submit in one process and collect in another: python resume.py submit; python resume.py collect.

The two processes share one file, which holds the task, but no key and no picture.
"""

import sys
from pathlib import Path

from apimaster import APIMaster, Task, TaskTimeoutError

TASK_FILE = Path("task.json")


def submit() -> None:
    """Submit a picture, and save the task at once: from now on the picture is paid for."""
    with APIMaster() as client:
        task = client.submit("A map of an island, ink on paper", resolution="2K")
    TASK_FILE.write_text(task.model_dump_json(), encoding="utf-8")
    print(f"submitted {task.id}")


def collect() -> None:
    """Wait for the task, however long ago it was submitted. Polls and downloads cost nothing."""
    task = Task.model_validate_json(TASK_FILE.read_text(encoding="utf-8"))
    with APIMaster() as client:
        try:
            result = client.wait(task, timeout=600, save_to="island.png")
        except TaskTimeoutError as error:
            sys.exit(f"not finished yet: {error}")
    print(f"collected {result.images[0].path}")


if __name__ == "__main__":
    {"submit": submit, "collect": collect}[sys.argv[1]]()
