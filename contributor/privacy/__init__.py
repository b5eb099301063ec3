"""Training that bounds what an update can tell of any one example: clipping, noise, and an account of both.

    accountant.py   what noise costs, as pure arithmetic
    noise.py        numbers that nobody else can draw again
    gradients.py    which examples a step sees, drawn in secret; each one's gradient clipped, their sum made noisy
    budget.py       what was spent so far, in the node's folder; nothing goes past what was chosen
    beginning.py    from what the owner chose to how a unit is trained

What this protects and what it does not is in docs/privacy.md.
"""
