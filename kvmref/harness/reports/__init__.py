# SPDX-License-Identifier: GPL-2.0-only
"""What people look at: a timeline as text, as a picture and as trace events; verdicts as a page."""
