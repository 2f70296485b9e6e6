"""Painted photographs of eyes, seeded, for machines and tests without real ones.

``photograph`` paints one of a given grade; ``anatomy``, ``vessels`` and ``lesions`` are its parts.
"""
