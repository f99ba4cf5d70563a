"""The face that phones see: WebSocket frames to and from the gateway."""
