"""What every page has in common: it stands alone in one file, and its pictures are SVG.

``style`` is how pictures look, ``picture`` makes one from a figure, ``page`` renders a template
with ``page.css``.  Needs Matplotlib and Jinja, which come with the extra ``study``.
"""
