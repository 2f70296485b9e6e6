"""Behind an endpoint: its life cycle, what it is pinned to, and its pools of workers.

::

    lifecycle        an endpoint's states, and the threads that lead from one to the next
    deployment       what an endpoint serves: pinned image, pinned archive, a pool a variant
    serverless_pool  workers on demand, from zero to MaxConcurrency
    real_time_pool   a fixed number of workers
    pool             what both kinds of pool have in common
    worker           an instance that has answered GET /ping
    instance_client  HTTP to one instance
    fleet            every instance on this machine: sized, started, stopped
    artifact_cache   model archives from S3, extracted and kept while they are served
    execution_role   whether a model's role may pull its image and read its archive
    iam_policies     what IAM policies allow
"""
