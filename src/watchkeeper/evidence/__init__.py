"""A pack of evidence: what was seen and decided in a window, for people who do not trust us.

A pack holds the journal's entries of the window and the links of the chain that follow from them,
so that whoever has it derives every decision again, on another machine. Where the window does not
begin with the journal, it begins with a checkpoint; that is the one thing the signature alone
vouches for. See `docs/decisions/0023-evidence.md`.
"""

from watchkeeper.evidence._check import Checked, check
from watchkeeper.evidence._key import private_key, public_text
from watchkeeper.evidence._make import Made, make

__all__ = ["Checked", "Made", "check", "make", "private_key", "public_text"]
