"""What a node does with other nodes, where its owner wants that.

    choice   what the owner wants, and where to listen
    around   the sidecars around a working node

See :mod:`barnraise.swarm` for the processes, docs/swarm.md for what it is good for.
"""
