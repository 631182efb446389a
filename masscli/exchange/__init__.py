"""Published weights in, ours out: folders as Hugging Face distributes them."""
