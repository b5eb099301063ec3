"""Commands to a running node, through a Unix socket that its owner alone can reach.

lines.py      one JSON object a line: what is asked, what is answered; bounded, and no socket
address.py    where the socket of a node's folder is
commands.py   what each command does to a node
server.py     the thread that listens; peer.py: who is at the other end
asking.py     the other end: ask a node, or say why it cannot be asked
finding.py    the nodes on this machine, and which of them is meant
"""
