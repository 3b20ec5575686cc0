"""python -m tests.http.fuzz: compares the fast path with h11 on requests made up at random (`make fuzz`).

    --count 200000   how many streams of requests
    --seed 0         where to start; each stream has a number, which is printed if it is read in two ways

test_differential.py does the same with the first 3,000. Exit status 1 on the first difference.
"""

from __future__ import annotations

import argparse
import sys
import time

from .differential import compare, is_plain, make_feed


def main() -> int:
    parser = argparse.ArgumentParser(description="compares the fast path with h11 on requests made up at random")
    parser.add_argument("--count", type=int, default=200_000, help="how many streams (default: 200000)")
    parser.add_argument("--seed", type=int, default=0, help="the first stream's number (default: 0)")
    arguments = parser.parse_args()
    started = time.monotonic()
    plain = 0
    for done in range(arguments.count):
        seed = arguments.seed + done
        feed = make_feed(seed)
        fast, slow = compare(feed)
        if fast != slow:
            step = next((at for at, pair in enumerate(zip(fast, slow, strict=False)) if pair[0] != pair[1]), -1)
            print(f"\nstream {seed} is read in two ways, from step {step} on\n{feed}", file=sys.stderr)
            print(f"fast: {fast[step]}\nh11:  {slow[step]}", file=sys.stderr)
            return 1
        plain += is_plain(b"".join(feed.pieces))
        if sys.stderr.isatty() and not done % 1000:
            print(f"\r{done:>9,} of {arguments.count:,}", end="", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    share = plain / max(1, arguments.count)
    print(f"\r{arguments.count:,} streams read the same way in {seconds:.0f} s; {share:.0%} began with a plain head")
    return 0


if __name__ == "__main__":
    sys.exit(main())
