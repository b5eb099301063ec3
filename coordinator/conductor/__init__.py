"""The Ray driver of a run: does what the round machine says, and remembers it in the ledger."""
