"""Notes for the manifest of a model whose weights were not trained."""

UNTRAINED = "The head is untrained (random): its grades mean nothing."
RANDOM = "All weights are random: good for size, latency and cost; its grades mean nothing."
