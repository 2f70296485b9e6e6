"""Notes for the manifest of a model whose weights were not trained."""

UNTRAINED = "The head is untrained (random), so the grades mean nothing."
RANDOM = "All weights are random: size, latency and cost are valid, but the grades mean nothing."
