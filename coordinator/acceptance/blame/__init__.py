"""Who broke it: which update of a round, which release of a line, which edge of a family.

culprits.py     group testing, when a candidate fails
footing.py      large parts of a round on top of which the others are tested
bisect.py       which model of a chain or a family to test next
behaviour.py    the answer to that: one test of a model against the good end
ancestry.py     the models of a run, who was made from whom
"""
