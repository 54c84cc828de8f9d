"""The version, for the build and for the client, which would else have to read files for it."""

VERSION = "0.1.0"
