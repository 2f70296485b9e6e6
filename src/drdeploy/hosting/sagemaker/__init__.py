"""Hosting: what an endpoint may be, what it costs, and the one client that speaks to it.

The stages, in the order that a study meets them:

1. ``quotas`` knows the limits; the ranges and names come from
   botocore's own service model, the rest from the developer guide.
2. ``configs`` describes an endpoint: ``ServerlessConfig`` or
   ``RealTimeConfig``.  What SageMaker would refuse cannot be constructed.
3. ``instances`` knows the vCPU and memory behind an instance type.
4. ``prices`` is a dated, regional price sheet.  An unknown price is an
   error, never a default.
5. ``client`` creates, waits, invokes, measures and deletes.  It speaks
   to AWS and to :mod:`drdeploy.hosting.local` alike; only ``endpoint_url`` differs.
"""
