"""What can be wrong with bytes that came over the control stream."""


class BadMessage(ValueError):
    """The other end sent something that is not a message of this protocol: its fault, no retry."""
