"""Measurements become a decision.

The stages, one module each:

``measurements``  reads a results folder and says which rows do not count, and why (``rows``: what
                  a row must be)
``statistics``    an ``Estimate`` is a value, its 95 % interval, n and the method
                  (``studentised`` and ``order_statistics``: where the intervals come from)
``differences``   the same for differences, and for rows that are paired
``stability``     whether rows drift or depend on each other; outliers, listed and never trimmed
``cost``          what an inference and a month cost: a pure function of measurements, traffic and a
                  price sheet
``scenarios``     groups rows by trial and kind of start
``summaries``     one line per scenario: how fast, how dear, on how many rows
``comparisons``   ratios between scenarios that differ in one thing, never without an interval
``findings``      the answer in sentences: fastest, cheapest, best cold start
``caveats``       what to know before believing the numbers
``evidence``      all of the above, computed once
``notation``      how a number, its unit and its interval are written
``image_figure``  cold starts along the ladder of images
``figures``       box plots (``boxes``), the break-down of latency, the cost: SVG, the same bytes
                  every time; ``panels``: which scenarios stand in one picture
``tables``        everything above as CSV, in full precision
``cells``         estimates in the cells of a page
``report``        all of it in one self-contained page

From measurements to a decision:

``traffic``         when photographs arrive: drawn from a shape, or read from a trace
``simulation``      what that does to an endpoint: cold starts, waiting, seconds to pay for
``softening``       what can be done against cold starts
``recommendation``  the cheapest option that meets every requirement, and how sure that is

``candidates`` stands beside them: networks compared before any is hosted.  So does
``reproduction``: the published study, recomputed from its own rows.

Nothing here measures, and nothing measured is thrown away: rows that do not count (warm-ups,
failures, the wrong kind of start) stay in the frame and are reported as such.
"""
