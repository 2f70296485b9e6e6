"""What can be done against cold starts, compared in the same simulation.

``demand``       how many containers each hour needs
``policies``     do nothing, keep-warm requests, provisioned concurrency by schedule, the hybrid
                 histogram of idle times, a forecast of demand
``histogram``    the hybrid histogram (Shahrad et al. 2020)
``comparison``   how many cold starts each policy avoids and at what cost; the best one
``settings``     the chosen policy as variables for the Terraform modules

A policy sees only the past.  The schedules alone are made from the traffic's own average week, as
somebody who knows the opening hours would make them.
"""
