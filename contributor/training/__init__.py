"""One unit of work on this machine: inner steps, and what they leave behind."""
