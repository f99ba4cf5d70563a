"""What the gateway does: doorkeeping, inbox, outbox, roster, dispatch. No HTTP and no frames."""
