"""The contributor's side: lease, pull, train, compress, sign, send; and respect for the machine."""
