"""What traffic does to an endpoint: a discrete-event simulation fed by measured times.

``service``     the measured times of a configuration, warm and cold, from which times are drawn
``serverless``  requests start or find a container, or are refused
``real_time``   requests wait in one queue for the next free worker
``outcome``     the result: share of cold starts, percentiles, seconds to pay for
``erlang``      closed formulas that the simulation is checked against

The same seed gives the same outcome.  `benchmarks/simulation_speed.py` measures how fast
the simulation is, and `benchmarks/simulation_against_service.py` how close its results are to those
of the local service.
"""
