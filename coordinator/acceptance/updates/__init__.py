"""Judgement of single updates.

check.py           the cheap check of one update alone
contribution.py    its score: what it alone does to hidden text and to its own domain's
compared.py        what a check keeps of single examples, for its round to compare updates
recognise.py       all recognisers on a round; recognition.py: what one says
free_riders.py, copies.py, tuned.py    the recognisers
ranking.py         contributors by the scores of their updates, and weights from scores
probation.py       whether a contributor is trusted
"""
