"""What picture bytes are, read from the bytes, and how sizes are written."""
