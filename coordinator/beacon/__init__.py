"""The coordinator's part in the swarm: a host that nodes begin with, and a beacon that says where the run is.

``keeping`` decides what the beacon says and when it is signed anew, ``told`` is what this process tells the
gateway, ``keeper`` is the loop, ``__main__`` the process. The table of settings is :mod:`barnraise.swarm_config`.
A run goes on without any of it.
"""
