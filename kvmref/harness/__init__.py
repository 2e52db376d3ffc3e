# SPDX-License-Identifier: GPL-2.0-only
"""The test oracle: vectors, recordings, implementations under test, verdicts and reports."""
