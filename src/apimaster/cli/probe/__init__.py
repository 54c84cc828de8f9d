"""``apimaster probe``: checks what this package believes about the endpoint against a real gateway."""
