"""The version of this package, in a separate module that every package may import."""

VERSION = "0.1.0"
