"""What traffic does to an endpoint: a discrete-event simulation fed by measured times.

``service``     the measured times of one configuration, warm and cold, and how they are drawn
``serverless``  arrivals -> concurrency -> cold, warm, provisioned or throttled -> service
``real_time``   arrivals -> one queue -> the instances' workers
``outcome``     what came of it: cold share, percentiles, seconds to pay for
``erlang``      the closed forms that the simulation is checked against

The same seed gives the same outcome.  `benchmarks/simulation_speed.py` says how fast it is,
`benchmarks/simulation_against_service.py` how close to the local service.
"""
