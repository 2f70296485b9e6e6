"""What can be done against cold starts, played in the same simulation.

``demand``       how many containers each hour needs
``policies``     nothing, keep-warm requests, provisioned concurrency by schedule, the hybrid
                 histogram of idle times, a forecast of demand
``histogram``    the hybrid histogram (Shahrad et al. 2020)
``comparison``   what each avoids and costs, and the best for this traffic
``settings``     the chosen one as variables that the Terraform modules take

A policy sees the past alone; only the schedules are made from the traffic's own average week, as a
person who knows the opening hours would make them.
"""
