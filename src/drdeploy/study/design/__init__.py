"""Design a study: read its TOML file, and plan its trials.

1. ``study`` reads the TOML file: models, images, endpoints, and the combinations to measure.
2. ``scenarios`` describes how requests are sent: how many, when, and to a cold or a warm container.
3. ``plan`` lists the trials, with their expected duration and their cost in the worst case.

Nothing in this package sends a request over the network.
"""
