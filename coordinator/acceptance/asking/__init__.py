"""How kinds of tests ask a model: texts in, likelihoods or continuations out.

evaluate.py         bits of a text, and whether its end is known
continuations.py    bits of what follows a prompt; choices.py: which of several is likeliest
generating.py       greedy generation
lines.py            what a line of a data set must have; noise.py: texts with errors in them
harness.py          a subject as EleutherAI's harness wants models; offline.py: without a network
"""
