"""No secret reaches the log."""

from returns_service.logs import mask


def test_secrets_and_api_keys_never_reach_the_log() -> None:
    stripe, ours, signing = "sk_test_" + "canary", "rsk_" + "c" * 43, "whsec_" + "c+/" * 14 + "c="
    event = mask({"error": f"refused {stripe}, asked with {ours}, signed with {signing}", "count": 3}, [stripe])
    assert event == {"error": "refused ***, asked with rsk_***, signed with whsec_***", "count": 3}
