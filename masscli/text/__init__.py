"""Raw text: read it, prepare it, turn it into token ids and back. Nothing here imports torch."""
