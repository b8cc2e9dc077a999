"""What is written of a merge in words: model card, recipe, mergekit configuration."""
