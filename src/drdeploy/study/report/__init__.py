"""What a study's measurements say, as one page with tables and pictures beside it.

``summaries``         one line per scenario: how fast, at what cost, from how many rows
``comparisons``       ratios between scenarios that differ in one thing, always with an interval
``findings``          the answer in sentences: fastest, cheapest, shortest cold start
``caveats``           what a reader must know before believing the numbers
``evidence``          all of the above, computed once
``scenario_picture``  every scenario's cost against its latency: the first picture of a report
                      without a decision
``figures``           box plots (``boxes``), the parts of the latency, the cost, as SVG; ``panels``
                      says which scenarios share one
``image_figure``      cold starts by image
``tables``            everything above as CSV, in full precision
``cells``             estimates in the cells of a page
``report``            all of it in one self-contained page

Nothing is measured here, and nothing measured is thrown away: rows that do not count (warm-ups,
failures, the wrong kind of start) stay in the data frame and are reported as such.
"""
