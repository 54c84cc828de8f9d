"""``apimaster webhooks``: endpoints, their secrets, and the events that go there."""
