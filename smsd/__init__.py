"""smsd turns Android phones into an SMS gateway that anyone can run."""

__version__ = "0.1.0"
