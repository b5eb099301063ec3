"""Judgement: is a model no worse than the one before it, and if it is, whose fault is that.

    suite.py        from what two models were measured to be to a verdict; verdict.py: its arithmetic
    batches.py      what to measure next, until the answer is sure
    measuring.py    one test of one model; kept.py: measured once, kept under its name
    run_suite.py    a suite on a laptop: what barnraise test does; trial.py, supply.py: what it needs
    probe.py        is a release that a channel moved to worse than the one before
    promised.py     which questions a suite asks, so that another question is another promise
    examples.py     what tests look at; heldout.py: a run's own windows; metric.py: what numbers mean

    kinds/          what a test can ask; asking/: how that is put to a model; models/: the models
    statistics/     the tests behind a verdict
    hidden/         examples that nobody outside knows
    updates/        checks, scores and suspicions of single updates
    blame/          culprits of a round, bisection over releases
    reports/        HTML and JUnit XML

None of it knows Ray; whoever runs a suite decides where.
"""
