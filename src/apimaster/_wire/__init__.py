"""Requests and replies in the endpoint's field names, which no other package knows."""
