"""The commands below ``apimaster batch``."""
