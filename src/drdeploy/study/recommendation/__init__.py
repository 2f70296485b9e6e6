"""Decide how to host a grader within the requirements, and how certain the decision is.

- ``requirements`` holds the requirements of an option, and the values that are assumed.
- ``configurations`` collects the configurations that were measured, with their times.
- ``aws_latency_estimates`` estimates latencies on AWS from rows of this machine.
- ``traffic`` draws the times at which photographs arrive; ``trace`` reads them from a CSV file.
- ``simulation`` simulates traffic on an endpoint.
- ``mitigation`` holds the policies against cold starts.
- ``hosting_ways`` lists the ways of hosting with their limits, and says which can be deployed.
- ``instance_options`` simulates instances that do not run around the clock, for example with
  autoscaling or by a schedule.
- ``options`` simulates and prices every way of hosting.
- ``bill`` computes the monthly bill of an option.
- ``evaluated`` collects the simulated results of an option, and the requirements that it misses.
- ``choice`` chooses among options of about the same cost: the simplest, then the fastest.
- ``price_age`` says how old the prices are.
- ``price_sensitivity`` computes how far each price can rise or fall before another option wins.
- ``confidence`` resamples the rows, and computes intervals for each option.
- ``break_even`` finds the volume of requests above which another kind of hosting is cheaper.
- ``decide`` makes the decision with the modules above.
- ``decision`` holds the decision as one frozen document.
- ``wording`` writes the decision as sentences.
- ``picture`` draws every option's cost against its latency.
- ``decision_grid`` simulates every option at several volumes of requests, so that the page can show
  the decision for other volumes.
- ``page`` renders the decision as a page, or as a section of the report.
- ``inference_cost`` computes the cost of one inference, as the study of 2023 defines it.
- ``candidates`` compares networks by quality, speed and cost.
"""
