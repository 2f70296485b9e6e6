"""Paint photographs of eyes, for machines and tests without real ones.

``photograph`` paints one with the lesions of a grade.  ``anatomy`` decides where things are in the
eye; ``vessels`` and ``lesions`` draw them.  None of this is part of a lean image.
"""
