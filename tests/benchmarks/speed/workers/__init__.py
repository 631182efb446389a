"""Programs that are measured in an environment of their own, because their libraries do not go together with masscli's.

Nothing here may import masscli, which that environment lacks; fairseq's is Python 3.10 or older.
"""
