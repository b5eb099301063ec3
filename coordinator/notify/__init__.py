"""Tell others what happens in a run: signed webhooks, and whatever apprise reaches.

``messages`` says what is worth telling, ``outbox`` decides what is due when, ``webhook`` and ``targets`` send,
``notifier`` is the loop, ``__main__`` the process. The table of targets is :mod:`barnraise.notify_config`.
"""
