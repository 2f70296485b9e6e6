"""The APIs of the local service: SageMaker, CloudWatch, and other AWS services through moto."""
