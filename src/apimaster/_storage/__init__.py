"""Save pictures, in local folders or behind fsspec URLs."""
