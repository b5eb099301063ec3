"""What runs in a sidecar; the only place that knows hivemind. Nobody imports it: it is started as a process.

__main__   settings from standard input, a service, its commands at a socket, until standard input ends
service    what a service is, and which there are
serving    requests at a Unix socket, answered
host       a libp2p daemon with a DHT, as settings want it
"""
