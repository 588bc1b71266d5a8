"""Training pairs out of label maps: anatomy that is bent, and scanners that are simulated."""
