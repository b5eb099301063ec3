"""What runs in a sidecar; the only place that knows hivemind. Nobody imports it: it is started as a process.

__main__   settings from standard input, a service, its commands at a socket, until standard input ends
service    what a service is, and which there are
serving    requests at a Unix socket, answered
host       a libp2p daemon with a DHT, as settings want it, and the one way to ask them
faults     what hivemind raises, as our error

peers      the service of a run's open swarm: its parts are
  discovery  beacon and progress, into the DHT and out of it
  validator  which of those records the DHT takes
  blobs      blobs of releases, from and for other nodes
  meeting    words that members of a team leave for each other
team       the service of a team's closed swarm
  team_access     who may speak there
  team_averaging  one average
"""
