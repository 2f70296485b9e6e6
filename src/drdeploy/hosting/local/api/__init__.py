"""The APIs of the local service.

This package answers requests to SageMaker. The library moto answers requests to other AWS services.
For some operations of CloudWatch, CloudWatch Logs, Application Auto Scaling and IAM, this package
replaces what moto does.
"""
