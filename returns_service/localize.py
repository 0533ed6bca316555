"""Amounts as a customer's language writes them, never rounded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from babel import Locale
from babel.numbers import format_currency

from returns_service.domain.money import HUNDREDS_ONLY, exponent
from returns_service.shop_settings import Language

LOCALES: Final[Mapping[Language, str]] = {"en": "en_GB", "de": "de", "ar": "ar"}
_DECIMALS: Final = re.compile(r"\.0+")  # of a pattern such as `¤#,##0.00`


def write_amount(amount: int, currency: str, language: Language) -> str:
    """Return an amount (minor units) as the language writes it, with as many decimals as Stripe counts."""
    locale = Locale.parse(LOCALES[language])
    value = Decimal(amount).scaleb(-exponent(currency))
    places = 0 if currency in HUNDREDS_ONLY and value == int(value) else exponent(currency)
    decimals = "." + "0" * places if places else ""
    pattern = _DECIMALS.sub(decimals, str(locale.currency_formats["standard"].pattern))
    written = format_currency(
        value, currency.upper(), pattern, locale=locale, currency_digits=False, decimal_quantization=False
    )
    return written.replace("-", "−")
