"""The version of this package; a module of its own, so that every wing may import it."""

VERSION = "0.1.0"
