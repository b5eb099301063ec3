"""The statistics behind a verdict. Pure: numbers in, p-values, intervals and decisions out.

comparison.py    which statistical test fits which metric
proportions.py, mcnemar.py, resampling.py, student.py    those tests
holm.py          p-values corrected for how many there are
sequential.py    a test that looks at examples in batches, and stops when it is sure
family.py        a suite of such tests: which need more examples
budget.py        a limit on one number, without statistics
"""
