"""Operating a run from a browser.

token         the secret that begins a session, a file of its owner's
sessions      who is signed in, for how long, and how often somebody may guess
same_origin   whether a request that changes something comes from our own page
forms         the fields of a form, and what a link fills in
asking        from a form to an order, and what it would do
desk          signing in and out, the outlook of an order, giving it
audit         what was done, by whom
"""
