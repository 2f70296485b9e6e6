"""Constants of SageMaker's rules for container images: a label, and the user of the container."""

BIND_TO_PORT_LABEL = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
"""The label with which an image says that its server listens on the port that
``SAGEMAKER_BIND_TO_PORT`` names (developer guide, "Inference pipelines")."""

UNPRIVILEGED_USER = "12345:12345"
"""A user and a group that do not exist in any image. AWS does not publish the user under which a
serverless container runs. AWS advises to make files writable with ``chmod o+rwX`` (developer guide,
"Troubleshooting" of Serverless Inference). This suggests that the user owns no file and is in no
group.
"""
