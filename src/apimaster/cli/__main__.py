"""``python -m apimaster.cli`` is the ``apimaster`` command, also where scripts are not on the path."""

from . import main

main()
