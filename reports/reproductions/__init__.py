"""Numbers that others published, made again: one file each, ours beside theirs."""
