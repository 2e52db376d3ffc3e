# SPDX-License-Identifier: GPL-2.0-only
"""What is expected after a step, in words: for the page, and for whoever asks about a vector."""

from __future__ import annotations

from collections.abc import Iterator

from kvmref.harness.vectors.model import Expectation
from kvmref.harness.wording.findings import expected_in_words, pattern_in_words


def expectation_in_words(expect: Expectation) -> Iterator[str]:
    """Yield what is expected after a step, one thing at a time."""
    if expect.ret is not None:
        yield f"returns {expect.ret}"
    for pattern in expect.log:
        yield f"the log has {pattern_in_words(pattern)}"
    for pattern in expect.never:
        yield f"the log never has {pattern_in_words(pattern)}"
    for key, expected in expect.values.items():
        yield f"{key} is {expected_in_words(key, expected)}"
