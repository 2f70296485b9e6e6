"""Render self-contained HTML pages, whose pictures are SVG.

``style`` sets the look of pictures, and ``picture`` makes a picture from a Matplotlib figure.
``scatter`` draws costs against times, and ``page`` renders a template with ``page.css``. The
package needs Matplotlib and Jinja, which the extra ``study`` installs.
"""
