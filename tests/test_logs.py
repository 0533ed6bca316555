"""No secret reaches the log."""

from returns_service.app import masked


def test_secrets_and_api_keys_never_reach_the_log() -> None:
    stripe, ours = "sk_test_" + "canary", "rsk_" + "c" * 43
    event = masked({"error": f"refused {stripe}, asked with {ours}", "count": 3}, [stripe])
    assert event == {"error": "refused ***, asked with rsk_***", "count": 3}
