"""Mutate everything that masscli reads, and see what it makes of it.

    python -m tests.fuzz --cases 2000 --seed 1               all readers
    python -m tests.fuzz --cases 500 --seed 1 --reader recipe
    python -m tests.fuzz --seed 1 --reader recipe --case 17  one case, with its traceback
    python -m tests.fuzz --cases 100000 --log cases.jsonl    a long run; the same command again continues it

    python -m tests.fuzz --cases 7400 --branches DIR         which branches they take (pip install coverage)

A case is a copy of sound input with one to three mutations of its structure: trees of JSON and TOML, headers of
tensors and shards, columns of tables, opcodes of pickles, and files as such. Where checksums would only repeat
that something was changed, they are computed again. Some cases at a time run in a forked process, with limits on
the memory and time of each; one that fails is run again in a process of its own. A case may be refused, or read as an independent reader reads it; everything else is a failure.
"""
