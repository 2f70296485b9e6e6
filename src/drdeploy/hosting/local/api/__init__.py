"""The APIs of the local service.

This package answers requests to SageMaker and CloudWatch. The library moto answers requests to
other AWS services.
"""
