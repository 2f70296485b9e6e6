"""Simulate policies against cold starts on the same traffic, and compare them.

- ``policies`` plans what each of the six policies does: no action, keep-warm requests, provisioned
  concurrency that follows a schedule, constant provisioned concurrency, the hybrid histogram of
  idle times, and a forecast.
- ``histogram`` plans keep-warm requests with the hybrid histogram (Shahrad et al. 2020).
- ``comparison`` computes how many cold starts each policy avoids, and what the policy costs.
- ``settings`` writes a policy as variables for the Terraform modules.

The histogram and the forecast know only the arrivals before the time for which they plan. Keep-warm
requests and provisioned concurrency are planned with the average week of the whole traffic: a user
knows the opening hours of the clinic, and can set such a plan in advance.
"""
