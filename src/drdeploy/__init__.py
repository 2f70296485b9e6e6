"""Decide how to host a diabetic-retinopathy grader: measure it, price it, choose.

A grader is made, hosted and studied.  The wings, top to bottom; an import only points down
(``make layers`` keeps it so)::

    cli                 one thin file per noun and verb
    study               measure ways of hosting, and decide between them
    hosting             serve it: the server, its images, SageMaker here and on AWS, deployment
    grader              make it: photograph -> input -> model -> grade; train, evaluate, quantize
    statistics, pages   numbers that know how sure they are; one look for pages and pictures
    errors              every error a user can meet

Results are for research use.  This is not a medical device.
"""

from drdeploy.version import VERSION

__all__ = ["__version__"]

__version__ = VERSION
