"""What each page says: pure functions from ledger rows to frozen dataclasses, one file a page."""
