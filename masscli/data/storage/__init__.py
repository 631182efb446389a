"""Data on disk: shards, columns of ragged rows, tables of labeled examples, data folders."""
