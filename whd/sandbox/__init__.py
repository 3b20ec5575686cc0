"""The far side: what runs in processes of its own, away from the daemon and its secrets.

Some names here are the daemon's too, for the same things seen from the other end: Client, Flow, Setting, User,
Execution, Headers, PermissionDenied and ReturnWhen are words of the flow API; Worker, Zygote and RunContext are the far
ends of the daemon's. All other names differ (tests/test_words.py holds that).
"""
