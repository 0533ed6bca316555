"""What the service claims, by what the claim is about."""
