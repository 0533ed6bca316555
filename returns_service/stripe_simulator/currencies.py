"""Currencies that Stripe takes, their units and their smallest payments (docs.stripe.com/currencies)."""

from __future__ import annotations

from .refusals import Refusal

SUPPORTED = frozenset(
    (
        "aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf "
        "clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl hrk htg huf "
        "idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop "
        "mro mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar "
        "sbd scr sek sgd shp sle sll sos srd std szl thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst "
        "xaf xcd xof xpf yer zar zmw"
    ).split()
)
# Stripe takes amounts of these in whole currency units. Its list has UGX too, but takes UGX in hundredths.
ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())
WHOLE_UNITS = frozenset(("isk", "ugx"))  # sent in hundredths that must end in 00

MINIMUMS = {  # minor units; for other currencies Stripe publishes none
    "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30,
    "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "pln": 200,
    "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip

_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "inr": "₹", "krw": "₩", "cad": "CA$", "aud": "A$"}


def format_amount(amount: int, currency: str) -> str:
    """Return `amount` (minor units) as Stripe writes it in messages: `$12.34`, `¥500`."""
    digits = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    whole, part = divmod(amount, 10**digits)
    number = f"{whole:,}" + (f".{part:0{digits}}" if digits else "")
    return f"{_SYMBOLS.get(currency, currency.upper() + ' ')}{number}"


def get_step(currency: str) -> int:
    """Return the number of minor units that every amount of `currency` is a multiple of."""
    return 100 if currency in WHOLE_UNITS else 10 if currency in THREE_DECIMAL else 1


def check_currency(currency: str) -> None:
    """Refuse a currency that Stripe does not take."""
    if currency not in SUPPORTED:
        words = f"Invalid currency: {currency}. Stripe currently supports these currencies: "
        raise Refusal(400, words + ", ".join(sorted(SUPPORTED)), param="currency", stored=False)


def check_step(amount: int, currency: str, param: str = "amount") -> None:
    """Refuse an amount (minor units) that is no multiple of the currency's step."""
    step = get_step(currency)
    if amount % step:
        words = f"Invalid {param}: amounts in {currency} must be a multiple of {step}."
        raise Refusal(400, words, "invalid_charge_amount", param, stored=False)


def check_minimum(amount: int, currency: str) -> None:
    """Refuse a payment below the currency's minimum (minor units)."""
    minimum = MINIMUMS.get(currency, 0)
    if amount < minimum:
        words = f"Amount must be at least {format_amount(minimum, currency)} {currency}"
        raise Refusal(400, words, "amount_too_small", "amount", stored=False)
