"""Training objectives: a folder for each family, with a README that describes its methods."""
