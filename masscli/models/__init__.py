"""The networks.  They see ids and vectors, never text."""
