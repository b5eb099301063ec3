"""Examples that nobody outside knows: how they are drawn, how often, and what is told of them.

draws.py       which examples a round is tested on, committed to before and checked after
drawing.py     the draws of a run's rounds, and their record
checks.py      what the check of an update looks at: hidden windows, its own domain's, public ones
uses.py        how often an example may be used
pools.py       a pool pinned without being shown
feedback.py    numbers rounded to what their examples carry; the ladder
telling.py     a verdict as it may be told
"""
