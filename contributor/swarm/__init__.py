"""What a node does with other nodes, where its owner wants that.

    choice   what the owner wants, and where to listen
    around   the sidecars around a working node
    status   what they did for the node, as a value
    discovery  says how far the node is, and finds a coordinator that moved
    finding  which beacon counts, and where to go on, decided purely
    announcing   what others are told, and when, decided purely
    memory   what is remembered of the swarm, in the node's folder
    forwarding   where a coordinator went that was at some URL once
    giving   what may be given to other nodes, and an account of it
    peer_blobs   releases from other nodes first

See :mod:`barnraise.swarm` for the processes, docs/swarm.md for what it is good for.
"""
