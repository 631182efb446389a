"""The command line: one command per file. No module imports torch at module level."""
