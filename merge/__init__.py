"""Pure tensor mathematics in torch: compressing, merging, and the architectures that are merged.

Opens no file and no socket.
"""
