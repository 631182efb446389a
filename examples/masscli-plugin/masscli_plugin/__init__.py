"""A prefix language model for masscli."""
