"""What a node does with other nodes, where its owner wants that.

    choice         what the owner wants, and where to listen
    node           what all of these need to know of their node
    around         the sidecars around a working node
    status         what they did for the node, as a value
    memory         what is remembered, in the node's folder
    discovery      says how far the node is, and finds a coordinator that moved
    finding        which beacon counts, and where to go on, decided purely
    announcing     what others are told, and when, decided purely
    forwarding     where a coordinator went that was at some URL once
    peer_blobs     releases from other nodes first
    giving         what may be given to other nodes, and an account of it
    teamwork       a unit's change, averaged with those of the team, or a reason why not
    team_exchange  how it gets to the others: through the team's sidecar

See :mod:`barnraise.swarm` for the processes, docs/swarm.md for what it is good for.
"""
