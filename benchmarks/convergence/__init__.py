"""Does a merged trunk learn, and what does it cost in bytes? `python -m benchmarks.convergence --help`."""
