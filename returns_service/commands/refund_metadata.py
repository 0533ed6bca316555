"""The caller's metadata of a refund or a return: what Stripe takes, and which keys are ours."""

from __future__ import annotations

from collections.abc import Mapping

from returns_service.domain.problems import Problem

RESERVED_METADATA = ("refund_id", "lines")
METADATA_KEYS = 46  # Stripe's 50 less our four
LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE = 40, 500


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise Problem where Stripe would refuse the metadata, or a key is ours. https://docs.stripe.com/api/metadata"""
    if taken := [key for key in metadata if key in RESERVED_METADATA]:
        raise Problem("metadata_reserved", param=f"metadata.{taken[0]}")
    for key, value in metadata.items():
        fits = 0 < len(key) <= LONGEST_METADATA_KEY and len(value) <= LONGEST_METADATA_VALUE
        if not fits or "[" in key or "]" in key:
            raise Problem("metadata_invalid", param=f"metadata.{key[:40]}")
    if len(metadata) > METADATA_KEYS:
        raise Problem("metadata_invalid", param="metadata")


def merge_metadata(kept: Mapping[str, str], sent: Mapping[str, str]) -> dict[str, str]:
    """Return metadata with what was sent laid over it; an empty value takes its key away. Raises Problem."""
    check_metadata(sent)
    merged = {key: value for key, value in {**kept, **sent}.items() if key not in sent or value}
    if len(merged) > METADATA_KEYS:
        raise Problem("metadata_invalid", param="metadata")
    return merged
