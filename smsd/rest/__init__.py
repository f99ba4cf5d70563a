"""The face that agents see: HTTP requests to and from the gateway."""
