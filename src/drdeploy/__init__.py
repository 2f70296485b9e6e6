"""Decide how to host a diabetic-retinopathy grader: measure it, price it, choose.

One sentence: a photograph becomes a grade in :mod:`drdeploy.serving`; a grade becomes a
measurement in :mod:`drdeploy.experiments`; measurements become a decision in
:mod:`drdeploy.analysis`; and everything in between speaks the SageMaker API, whether AWS
answers it or the local service does.

The layers, top to bottom; an import only points down (``lint-imports`` keeps it so)::

    cli            one thin file per noun
    analysis       statistics, cost, tables, figures, report
    experiments    study -> trials -> measurements
    deployment     push, upload, plan, apply, verify: Terraform creates and deletes
    sagemaker      endpoint configurations, quotas, prices, the boto3 client, the local service
    images         build container images and read their layers
    terraform      a provider that lets terraform apply infrastructure/ to the local service
    training       data sets, the architectures, fit, export, quantize, evaluate
    engine         the one seam to the container engine's API
    pages          what every HTML page and picture has in common
    serving        the hosting contract: handlers, two profiles, the supervisor
    runtimes       load a model and predict
    artifacts      model.tar.gz and its manifest
    fundus         photograph -> model input
    grading        what a grade is, how good a grader is
    estimate       a number that knows how sure it is
    errors         every error a user can meet

``serving`` and what lies below it is all that a lean container holds.  It imports neither
boto3, pandas nor matplotlib, and TensorFlow or FastAPI only when that runtime or profile was
asked for.

Results are for research use.  This is not a medical device.
"""

__version__ = "0.1.0"
