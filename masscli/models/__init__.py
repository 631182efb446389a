"""The networks, which see ids and vectors, but never text."""
