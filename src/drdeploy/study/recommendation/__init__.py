"""The decision: the cheapest way of hosting that meets every requirement, and how sure that is.

``requirements``    what must be met, and what is assumed where no measurement says
``configurations``  the configurations that were measured, with their times
``traffic``         when photographs arrive
``simulation``      what the traffic does to an endpoint
``mitigation``      what can be done against cold starts
``cost``            what hosting costs
``options``         each configuration with each policy, or with the instances that its peak takes:
                    simulated and priced
``checks``          the requirements that an option misses
``confidence``      a bootstrap of the rows: limits of each option, and how often the winner wins
``break_even``      the volume from which on another kind of hosting is cheaper
``decide``          all of the above, in order
``decision``        the result as one frozen document (``evaluated``: an option of it)
``wording``         the decision in sentences
``picture``         every option's cost against its latency, as one picture
``page``            the decision as a page, or as a section of the report
``candidates``      networks side by side: what each finds and costs
"""
