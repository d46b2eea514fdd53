"""Find sessions that are in both splits, and duplicates in one, by small fingerprints of conversations."""

from trainer.leaks.fingerprints import Fingerprint, fingerprint
from trainer.leaks.search import Leak, find_duplicates, find_leaks

__all__ = ["Fingerprint", "Leak", "find_duplicates", "find_leaks", "fingerprint"]
