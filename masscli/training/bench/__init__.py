"""The speed of this machine: training, its peers and generation, relative to the speed of matrix products."""
