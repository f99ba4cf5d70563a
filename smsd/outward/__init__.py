"""Posting to addresses that strangers chose: what may be called, how a call is signed and made, and
when it is made again. Which events go where, and what is remembered of it, is not here."""
