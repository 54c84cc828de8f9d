"""The version: the build reads it here, and so does the client, which would else read files for it."""

VERSION = "0.1.0"
