"""Compare policies against cold starts in the same simulation.

- ``policies`` holds the six policies: no action, keep-warm requests, provisioned concurrency by
  schedule, constant provisioned concurrency, the hybrid histogram of idle times, and a forecast.
- ``histogram`` computes the hybrid histogram (Shahrad et al. 2020).
- ``comparison`` computes how many cold starts each policy avoids, and what the policy costs.
- ``settings`` writes a policy as variables for the Terraform modules.

The histogram and the forecast use only past arrivals. Keep-warm requests and provisioned
concurrency use the average week of the whole traffic, because a user knows the opening hours.
"""
