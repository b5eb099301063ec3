"""Judgement: is a model no worse than the one before it, and if it is, whose fault is that.

    heldout.py    the test data, pinned by digest
    evaluate.py   a model's scores on it (torch)
    scores.py     what a score is
    suite.py      which acceptance test reads which scores
    verdict.py    the statistics: non-inferior or not, with the numbers
    comparison.py which statistical test fits which metric
    proportions.py, mcnemar.py, resampling.py   those tests
    holm.py       p-values corrected for how many there are
    sequential.py a test that looks at examples in batches, and stops when it is sure
    family.py     a suite of such tests: which need more examples
    budget.py     a limit on one number, without statistics
    check.py      the cheap check of one update alone
    culprits.py   group testing, when a candidate fails
    bisect.py     which model of a chain or a family to test next, to find where a behaviour changed
    behaviour.py  the answer to that: one test of a model against the good end
    ancestry.py   the models of a run, who was made from whom

All but evaluate.py is pure numpy: it gets scores and returns verdicts with reasons.
"""
