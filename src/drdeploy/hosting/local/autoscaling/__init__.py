"""Scale variants as Application Auto Scaling does.

- ``schedules`` reads when a scheduled action runs.
- ``adjustments`` computes how many instances a policy asks for.
- ``activities`` records each change, and its reason.
- ``variants`` reads and changes the instances or the provisioned concurrency of a variant.
- ``scaler`` reads the alarms and schedules of every registered target, and changes the endpoints.
"""
