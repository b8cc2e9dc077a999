"""Reading strangers' files as data: JSON and YAML bounded in size and depth, regular expressions bounded in time."""
