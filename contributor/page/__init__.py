"""A page of one node for its owner's browser, on this machine only.

curve.py    losses as a drawing
render.py   status and history as HTML
guard.py    which requests are answered at all
server.py   the thread that answers them
"""
