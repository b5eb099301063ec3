"""What the policy ``learned`` learns, and how: pure models that are updated look by look."""
