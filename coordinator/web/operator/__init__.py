"""Operating a run from a browser.

token         the secret that begins a session, a file of its owner's
sessions      who is signed in, for how long, and how often somebody may guess
same_origin   whether a request that changes something comes from our own page
asking        from a form to an order, and what it would do
audit         what was done, by whom
"""
