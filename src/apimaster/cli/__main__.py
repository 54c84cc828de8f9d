"""``python -m apimaster.cli``: the ``apimaster`` command, also if the folder of scripts is not on the path."""

from . import main

main()
