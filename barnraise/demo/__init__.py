"""The main job on one machine: a coordinator, volunteers, a poisoner, releases, and a pull at the end.

A spectator like any other: it starts processes with public commands and learns what happens
over HTTP and from what the volunteers print.
"""
