"""Build one machine-learning model the way open-source software is built.

This package is the public face and the kernel that the other three share. It imports
neither torch nor ray: pulling, verifying and inspecting a release needs numpy only.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
