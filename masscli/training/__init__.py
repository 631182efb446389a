"""Training: the training loop with its parts, and what it validates, saves and reports."""
