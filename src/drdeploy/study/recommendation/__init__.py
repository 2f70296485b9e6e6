"""The answer: the cheapest way of hosting that meets every requirement, and how sure that is.

``requirements``  what must be met, and what is assumed where nobody measured
``hosted``        the configurations that were measured, with their times
``options``       each of them with each policy or with as many instances as the load takes: played
                  in the simulation, and priced
``judging``       what an option fails on
``confidence``    the share of bootstrap resamples in which the winner stays the winner
``break_even``    from which volume on another kind of hosting is cheaper
``decision``      all of it as one frozen document
``decide``        makes the document
``page``          shows it, alone or as a section of the report
"""
