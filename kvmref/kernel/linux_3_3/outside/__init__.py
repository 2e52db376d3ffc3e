# SPDX-License-Identifier: GPL-2.0-only
"""What the ported paths call but this project does not model, one module for each kind."""
