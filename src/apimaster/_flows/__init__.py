"""Flows: the order of steps, with no I/O. A flow yields operations, and a driver sends it the answers."""
