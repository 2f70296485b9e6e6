"""Design a study: read its TOML file, and show its plan before anything is spent.

1. ``study`` reads the file: models, images, endpoints, and which combinations to measure.
2. ``scenarios`` says how requests are sent: how many, when, and to what kind of start.
3. ``plan`` lists the trials, with their expected duration and their cost in the worst case.

No service is called here.
"""
