"""What can be learned from text, one page each.  The docstring of an objective is the method's page: paper, equation, choices."""
