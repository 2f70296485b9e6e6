"""The published study recomputed from its own raw rows.

The stages, one module each:

``raw_rows``     the study's CSV files as measurements, as if this project had made them
``printed``      ``published.csv``: every figure that the study printed, with the digits it printed
``formulas``     a figure as arithmetic on samples: a mean, a ratio, a share, a reduction
``definitions``  what each printed figure says that it is, in such a formula; or why no row is left
``departures``   what another reading may differ in (``single_numbers``: rows into one number)
``readings``     which other reading of the same rows gives the printed number, if one does
``verdicts``     reproduced, close, differs or not recomputable, with the interval of the rows
``findings``     what does not hold, in sentences
``reproduction`` all of the above, computed once
``document``     all of it as JSON
``figures``      figures 6.1 to 6.12, drawn anew by the same code as any report's
``tables``       tables 6.1 to 6.7, recomputed
``page``         one self-contained page

A figure is recomputed from what it says that it is; its printed value is looked at afterwards.
"""
