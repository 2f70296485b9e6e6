"""What the model server runs in: a container, or a process that a control group limits.

``instance`` defines what both are (:class:`~drdeploy.hosting.local.instances.instance.Instance`),
``containers`` and ``processes`` start them, ``cgroups`` limits processes.  ``service_folders`` and
``process_sessions`` see to it that nothing survives a service that was killed.
"""
