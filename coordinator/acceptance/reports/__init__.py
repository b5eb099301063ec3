"""A run of a suite as a report: what is in it, and the forms that it takes.

report.py    what is reported
html.py      one self-contained page; plots.py: its pictures; report.css
junit.py     XML for continuous integration
"""
