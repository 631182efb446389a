"""Data, from input files to padded batches: file formats, preprocessing, storage and batching."""
