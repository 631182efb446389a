"""What a model can learn from text: a folder for each family of objectives, with a README of its methods."""
