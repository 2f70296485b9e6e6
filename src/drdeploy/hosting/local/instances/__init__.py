"""Run the model server in a container, or in a process that a control group limits.

``instance`` defines the interface of every instance
(:class:`~drdeploy.hosting.local.instances.instance.Instance`). ``containers`` and ``processes``
start instances. ``container_end_events`` tells at once that a container has ended. ``cgroups``
limits processes, and ``process_environment`` lists the variables that a model may set for them.
``process_sessions`` kills a server with all processes that it started. ``service_folders`` cleans
up after a service that was killed.
"""
