"""When and how hard the node works: policies that look at the machine and say what they wish."""

from contributor.governor.wish import Advice, Unrestricted, Wish, combine

__all__ = ["Advice", "Unrestricted", "Wish", "combine"]
