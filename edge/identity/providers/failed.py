"""What every provider raises, alone: who only catches it needs no provider's libraries."""


class ProviderFailed(Exception):
    """The provider answered wrongly, slowly or not at all. `reason` is stable; the text is for
    logs."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
