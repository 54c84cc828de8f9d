"""Reference images: from what a caller hands in to what goes on the wire."""
