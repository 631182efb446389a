"""The speed of this machine: training, its peers and generation, beside the rate of matrix products."""
