"""Lets ``twistd smsd`` find the gateway."""

from twisted.application.service import ServiceMaker

smsd = ServiceMaker(
    "smsd", "smsd.tap", "An SMS gateway: phones by WebSocket, agents by REST.", "smsd"
)
