"""Paint artificial photographs of eyes, for tests and for users without real photographs.

``photograph`` paints a photograph with the lesions of a grade.  ``anatomy`` places the parts of the
eye; ``vessels`` and ``lesions`` draw them.  The lean container image does not contain this package.
"""
