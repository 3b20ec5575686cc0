"""Tests of whd/sandbox/isolation: every layer from inside, from outside, and missing."""
