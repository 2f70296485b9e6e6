"""Decide how to host a grader within the requirements, and how certain the decision is.

- ``requirements`` holds the requirements of an option, and the values that are assumed.
- ``configurations`` collects the configurations that were measured, with their times.
- ``aws_latency_estimates`` estimates latencies on AWS from rows of this machine.
- ``traffic`` draws the times at which photographs arrive; ``trace`` reads them from a CSV file.
- ``simulation`` simulates traffic on an endpoint.
- ``mitigation`` holds the policies against cold starts.
- ``hosting_ways`` lists the ways of hosting, their limits, and which of them can be deployed.
- ``instance_options`` simulates the ways to run instances other than around the clock.
- ``options`` simulates and prices every way of hosting.
- ``bill`` computes the monthly bill of an option.
- ``evaluated`` lists the requirements that an option misses, and its simulated results.
- ``choice`` chooses among options of about the same cost: the simplest, then the fastest.
- ``price_age`` says how old the prices are.
- ``price_sensitivity`` computes how far a price can move before another option is chosen.
- ``confidence`` resamples the rows, and computes intervals for each option.
- ``break_even`` finds the volume of requests above which another kind of hosting is cheaper.
- ``decide`` makes the decision: it calls the modules from ``requirements`` to ``break_even`` in
  order.
- ``decision`` holds the decision as one frozen document.
- ``wording`` writes the decision as sentences.
- ``picture`` draws every option's cost against its latency.
- ``decision_grid`` simulates every option at several volumes, for the page.
- ``page`` renders the decision as a page, or as a section of the report.
- ``inference_cost`` computes the cost of one inference, as the 2023 study defines it.
- ``candidates`` compares networks by quality, speed and cost.
"""
