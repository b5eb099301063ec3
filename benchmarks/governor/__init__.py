"""Does ``learned`` keep the owner's other work below its target, and at what price? See __main__.py."""
