"""The networks, which operate on ids and vectors, but never on text."""
