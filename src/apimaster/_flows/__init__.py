"""What happens in which order, with no I/O: flows yield operations and are sent the answers."""
