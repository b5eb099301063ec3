"""How well does a cheap downstream test predict a fine-tune? `python -m benchmarks.attached --help`."""
