"""When and how hard the node works: policies that look at the machine and say what they wish.

wish.py          what a policy wishes, and how wishes combine; what the node asks
observation.py   everything that sensors can say
sensors/         one thin shell each
policies/        one pure rule each; policy.py lists them and finds others'
learning/        the models of the policy ``learned``
settle.py        the rule against flapping
settings.py      policies.toml; memory.py keeps what a restart must not lose
governor.py      puts it all together; here.py does so on this machine
priority.py      tells the system how to rank the node
"""

from contributor.governor.wish import Advice, Unrestricted, Wish, combine

__all__ = ["Advice", "Unrestricted", "Wish", "combine"]
