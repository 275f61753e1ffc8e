"""Finished work, kept by content: digests, atomic writes, identities and their locks."""
