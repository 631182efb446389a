"""Search: from a model that scores next tokens to lines of text."""
