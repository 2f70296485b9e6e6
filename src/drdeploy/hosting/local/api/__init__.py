"""What the local service answers: the control plane, the runtime, CloudWatch, and moto's rest."""
