"""Simulate how an endpoint serves traffic, one request after another, with measured times.

- ``service`` holds the measured warm and cold times of a configuration, from which the times of
  simulated requests are drawn.
- ``serverless`` simulates a serverless endpoint.
- ``real_time`` simulates a real-time endpoint.
- ``instances`` simulates instances whose number changes, and batch transform jobs.
- ``outcome`` holds the results: the share of cold starts, percentiles of the latency, and the
  billed seconds.

With the same seed, the outcome is always the same.  `benchmarks/simulation_speed.py` measures the
speed of the simulation, and `benchmarks/simulation_against_service.py` compares the simulation with
the local service.
"""
