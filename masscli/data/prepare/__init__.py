"""The steps of `masscli preprocess`, from text files to a data folder."""
