"""The swarm: what nodes of one run do for each other, beside HTTPS to the gateway, which is always enough.

hivemind does the networking, in a process of its own (a *sidecar*), because it forks, swallows signals and
takes its process down with it. This package starts that process, asks it, and knows what is said in the
swarm; only :mod:`barnraise.swarm.sidecar`, which nobody imports, knows hivemind.

    lines      one request and one answer a line
    process    Sidecar: starts the process, asks it, starts it again when it dies
    restarts   when to start it again, decided purely
    addresses  where a peer is reached
    records    beacon and progress: signed, bounded, soon over
    blob_choice  whom to ask for a blob, decided purely
    rate       a limit on bytes a second
    sidecar/   what runs there: python -m barnraise.swarm.sidecar

Everything that is heard in the swarm is a hint. What it points to is verified as always.
"""
