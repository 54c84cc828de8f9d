"""When to poll a task again."""
