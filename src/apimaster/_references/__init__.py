"""Reference images: from the values that a caller passes to the bytes that a request sends."""
