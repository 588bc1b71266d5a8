"""Several hospitals make one model: each trains on its own site, weights alone leave it, and each has its own gate."""
