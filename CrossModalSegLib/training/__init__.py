"""Training: samples, batches, teacher, objective, the loop, and the bundle that comes of it."""
