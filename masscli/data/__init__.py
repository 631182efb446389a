"""From shards to batches: integers and arrays in, padded tensors out."""
