"""Where pictures are saved."""
