"""What the shop of the demo sells, who buys there, and why things come back. Prices are minor units, tax in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Product:
    """An article: what it costs, what a scanner reads on it, how often it is bought, and what is wrong with it."""

    sku: str
    title: str
    price: int  # minor units, in each currency the shop sells in
    barcode: str  # EAN-13
    weight: int  # how often it is bought, beside the others
    share_returned: float  # of the orders that hold it
    reasons: tuple[str, ...]  # of the policy's catalogue, the most frequent first


PRODUCTS: Final = (
    Product("CREW-MER-UND-M", "Merino crew sweater, undyed, size M", 11900, "4006381333931", 9, 0.30,
            ("too_small", "too_small", "changed_mind")),
    Product("CREW-MER-UND-L", "Merino crew sweater, undyed, size L", 11900, "4006381333948", 8, 0.26,
            ("too_large", "too_small", "changed_mind")),
    Product("JEAN-RAW-32", "Raw denim jeans, 32", 14900, "4006381333955", 8, 0.44,
            ("too_small", "too_large", "not_as_described")),
    Product("JEAN-RAW-34", "Raw denim jeans, 34", 14900, "4006381333962", 6, 0.40,
            ("too_large", "too_small", "changed_mind")),
    Product("BOOT-CHEL-42", "Chelsea boots, brown, 42", 18900, "4006381333979", 6, 0.42,
            ("too_small", "too_large", "changed_mind")),
    Product("PARKA-RAIN-M", "Rain parka, moss, size M", 22900, "4006381333986", 5, 0.30,
            ("not_as_described", "too_large", "changed_mind")),
    Product("SHIRT-OX-WHT-M", "Oxford shirt, white, size M", 7900, "4006381333993", 10, 0.22,
            ("too_small", "changed_mind", "wrong_item")),
    Product("DRESS-LIN-38", "Linen dress, clay, 38", 12900, "4006381334006", 7, 0.48,
            ("too_small", "not_as_described", "changed_mind")),
    Product("SCARF-ALP-GRY", "Alpaca scarf, grey", 5900, "4006381334013", 9, 0.10,
            ("changed_mind", "not_as_described")),
    Product("SOCK-MER-3", "Merino socks, pack of three", 2900, "4006381334020", 16, 0.05,
            ("wrong_item", "changed_mind")),
    Product("TOTE-NAT", "Canvas tote, natural", 2450, "4006381334037", 12, 0.06,
            ("changed_mind", "damaged")),
    Product("MUG-STONE", "Stoneware mug, speckled", 1900, "4006381334044", 12, 0.12,
            ("damaged", "damaged", "changed_mind")),
    Product("LAMP-DESK-BRS", "Desk lamp, brass", 8900, "4006381334051", 4, 0.20,
            ("damaged", "not_as_described")),
    Product("BLANKET-WOOL", "Wool blanket, ochre", 13900, "4006381334068", 5, 0.14,
            ("changed_mind", "not_as_described")),
)  # fmt: skip
BY_SKU: Final = {product.sku: product for product in PRODUCTS}
RECALLED: Final = "LAMP-DESK-BRS"  # one batch of it had a loose cable: a week's spike in the plots
SHIPPING: Final = 490  # minor units, of each order

NAMES: Final = tuple(
    "Birgit Østergård|Elif Yılmaz|Jonas Weber|Zoë van Dijk|Marek Dvořák|Aoife Byrne|Luca Ferrari|Hanna Lindqvist|"
    "Youssef Haddad|Clara Fuchs|Tomás Ibáñez|Ingrid Solberg|Piotr Zieliński|Amélie Laurent|Sven Köhler|Nadia Rahimi|"
    "Matteo Ricci|Freja Nielsen|Dávid Kovács|Lena Hoffmann|Oluwaseun Adeyemi|Mia Schneider|Emil Johansson|"
    "Sofia Papadopoulou|Bram de Vries|Katarzyna Wójcik|Noah Becker|Chiara Conti|Anton Berger|Ruth Abramson|"
    "Rasmus Holm|Leonie Krämer|Ivan Petrov|Yuki Tanaka|Grace O’Neill|Paul Mertens|Selma Aydın|Viktor Nilsson|"
    "Greta Baumann|Hugo Martin".split("|")
)


REGULARS: Final = NAMES[:12]  # they buy again and again
FIRST_NAMES, LAST_NAMES = (tuple(name.split(" ", 1)[place] for name in NAMES) for place in (0, 1))


def email_of(name: str) -> str:
    """Return a customer's address, of a domain that nobody can own (RFC 2606)."""
    folded = name.translate(str.maketrans("øØåÅëéáíčřśńółżŻöäüıÖİ’", "oOaAeeaicrsnolzZoauiOI."))
    plain = "".join(c for c in folded.lower() if c.isascii() and (c.isalpha() or c in " ."))
    return f"{'.'.join(plain.replace('.', '').split())}@mail.example"
