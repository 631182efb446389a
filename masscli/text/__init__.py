"""Raw text: read it, preprocess it, turn it into token ids and back. This package does not import torch."""
