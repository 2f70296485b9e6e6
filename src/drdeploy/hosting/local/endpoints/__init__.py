"""The parts of an endpoint: its life cycle, container image, model archive and workers.

- ``lifecycle`` holds the states of an endpoint, and the threads that change them.
- ``guardrails`` says how long an update is watched, and which alarms undo it.
- ``data_capture`` stores a share of the requests and answers as JSON lines in S3.
- ``asynchronous_settings`` says where the results of an asynchronous endpoint go.
- ``deployment`` holds an image, a model archive and a pool of workers for each variant. Image and
  archive are pinned: they stay the same as long as the deployment exists.
- ``serverless_pool`` starts workers on demand, from zero to MaxConcurrency.
- ``real_time_pool`` keeps a fixed number of workers.
- ``instance_group`` manages the instances that host inference components.
- ``shadow_traffic`` copies requests to shadow variants.
- ``pool`` holds definitions that all kinds of pools share.
- ``worker`` represents an instance that has answered GET /ping.
- ``instance_client`` sends HTTP requests to one instance.
- ``instance_logs`` copies the log lines of instances to CloudWatch Logs.
- ``restart_loops`` finds servers whose workers keep failing because they may not write a file.
- ``fleet`` sizes, starts, counts and stops all instances on this machine.
- ``artifact_cache`` extracts model archives from S3, and keeps them while an endpoint serves them.
- ``execution_role`` checks whether a model's role may pull its image and read its archive.
- ``iam_policies`` evaluates what IAM policies allow.
"""
