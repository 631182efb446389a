"""Data on disk: shards, columns of ragged rows, tables of labelled examples, data folders."""
