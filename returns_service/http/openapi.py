"""The contract."""


def document() -> str:
    return ""
