"""What a flow sees as `system` and `this`, one module per kind of thing; flow_api.py puts them together.

All are thin, immutable objects before a Run (run.py). What they are asked for goes to the daemon as a call with a name
and JSON arguments; whether it may be done is decided there. Here arguments are only made fit to be sent, so that errors
about them use the words of FLOW_API.md.
"""
