"""The pool: worker processes, and which execution gets one when."""
