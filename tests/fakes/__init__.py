"""Stand-ins for what is slow or outside: processes, disks, other machines, the clock. Each keeps its model's promises.

Each has the methods of its model that others call, with the same arguments (test_fakes.py holds that), and what a test
sets or reads as plain attributes. What is pure in the model is the model's own: the scheduler, the readers of payloads
and values.
"""
