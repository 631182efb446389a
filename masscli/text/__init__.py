"""Raw text: reading it, preparing it, and turning it into token ids and back. Nothing in this package imports torch."""
