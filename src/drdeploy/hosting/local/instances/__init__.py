"""Run the model server in a container, or in a process that a control group limits.

``instance`` defines the interface of every instance
(:class:`~drdeploy.hosting.local.instances.instance.Instance`). ``containers`` and ``processes``
start instances, and ``cgroups`` limits processes. ``service_folders`` and ``process_sessions``
clean up after a service that was killed.
"""
