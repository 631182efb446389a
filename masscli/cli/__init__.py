"""The command line: one command a file.  Nothing here imports torch at module level."""
