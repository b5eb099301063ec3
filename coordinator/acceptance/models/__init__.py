"""Models under test, as tests see them.

subject.py           what a test may ask of a model; a trunk
folder_subject.py    a model of transformers, from a folder
contenders.py        from a name, a folder or an update to the model that is meant
attachments.py       changes that are applied to a model before it is measured
attaching.py         making one; tuning.py: the training behind it
"""
