"""The only package that knows the field names of the endpoint."""
