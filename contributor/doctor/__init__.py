"""Why can this machine not join? Facts are observed thinly, judged purely, and the first cause is named.

observe_*.py  what is here: packages, cards, memory, disks, names, connections, answers
machine.py    judges this machine
network.py    judges the way to the coordinator, and tls.py its certificate
terms.py      judges the run, and fit.py whether its units fit on this machine
examine.py    all of it in order of cause: what a later check says follows from an earlier failure
"""
