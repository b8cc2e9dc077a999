"""All that decides what the models of the family learn, but for their corpora; `train.train` is its entry."""
