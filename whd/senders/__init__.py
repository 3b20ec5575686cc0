"""What senders of webhooks do: how each proves where a delivery comes from, and what it expects in return.

`presets.py` is the table, one row a sender; `verifier.py` the one verifier that all rows go through.
"""
