"""The 2023 study recomputed from its own raw rows.

``raw_rows``     the raw rows as measurements, as if this project had made them
``printed``      every figure that the study printed, with the digits it printed
``formulas``     a figure as arithmetic on samples: a mean, a ratio, a share, a reduction
``definitions``  the formula that the words beside each figure define, or why there are no rows
``departures``   in what another reading of a figure may depart from its definition
                 (``single_numbers``: how rows become one number)
``readings``     the search for another reading of the same rows that gives the printed number
``verdicts``     reproduced, close, differs or not recomputable, with the interval of the rows
``findings``     what does not hold, in sentences
``reproduction`` all of the above, computed once
``document``     the verdicts as JSON
``figures``      figures 6.1 to 6.12, drawn by the code that draws any report's
``tables``       tables 6.1 to 6.7, recomputed
``page``         one self-contained page

A figure is recomputed from the words beside it; its printed value is looked at afterwards.
"""
