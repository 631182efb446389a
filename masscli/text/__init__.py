"""Raw text: reading, cleaning, tokenising.  Knows nothing of tensors."""
