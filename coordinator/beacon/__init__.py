"""The coordinator's part in the swarm: a host that nodes begin with, and a beacon that says where the run is.

``content`` decides what the beacon says and when it is signed anew, ``keeper`` is the loop that has it done, ``told``
is what that loop tells gateway and page of itself, ``__main__`` the process. The table of settings is
:mod:`barnraise.swarm_config`. A run goes on without any of it.
"""
