"""Compare policies against cold starts in the same simulation.

- ``policies`` holds the five policies. The policies are no action, keep-warm requests, provisioned
  concurrency by schedule, the hybrid histogram of idle times, and a forecast.
- ``histogram`` computes the hybrid histogram (Shahrad et al. 2020).
- ``comparison`` computes how many cold starts each policy avoids, and what the policy costs.
- ``settings`` writes a policy as variables for the Terraform modules.

The histogram and the forecast use only past arrivals.  The two policies with a schedule use the
average week of the traffic, because a user knows the opening hours.
"""
