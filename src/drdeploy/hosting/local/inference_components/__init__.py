"""Inference components: models that share the instances of one endpoint.

- ``checks`` refuses endpoint configurations and components whose settings contradict each other.
- ``deployment`` holds the pinned image and archive of a component, and the pool of its copies.
- ``component`` holds the status of a component, and the threads that change it.
- ``scaled_component`` lets the autoscaler read and change the number of copies.

The instances on which copies are placed are in ``endpoints.instance_group``.
"""
