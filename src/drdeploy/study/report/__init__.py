"""What a study's measurements say, as one page with tables and pictures beside it.

``summaries``     one line per scenario: how fast, how dear, on how many rows
``comparisons``   ratios between scenarios that differ in one thing, never without an interval
``findings``      the answer in sentences: fastest, cheapest, best cold start
``caveats``       what to know before believing the numbers
``evidence``      all of the above, computed once
``figures``       box plots (``boxes``), the break-down of latency, the cost: SVG, the same bytes
                  every time; ``panels``: which scenarios stand in one picture
``image_figure``  cold starts along the ladder of images
``tables``        everything above as CSV, in full precision
``cells``         estimates in the cells of a page
``report``        all of it in one self-contained page

Nothing here measures, and nothing measured is thrown away: rows that do not count (warm-ups,
failures, the wrong kind of start) stay in the frame and are reported as such.
"""
