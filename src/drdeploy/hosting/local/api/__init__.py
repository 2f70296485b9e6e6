"""The APIs of the local service.

This package itself answers for SageMaker and CloudWatch. The library moto answers for other AWS
services.
"""
