"""Asynchronous inference: requests wait in a queue on disk until an instance is free.

::

    InvokeEndpointAsync --> request_queue --> dispatcher --> processing --> S3, SNS, CloudWatch

- ``request_queue`` keeps the requests of one endpoint on disk, in order.
- ``dispatcher`` takes a request from the queue whenever an instance of the endpoint is free.
- ``processing`` reads the input, sends it to the instance, writes the result, and notifies SNS.
- ``queues`` holds the queue and the dispatcher of each asynchronous endpoint.
"""
