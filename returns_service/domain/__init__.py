"""What the product decides, as plain functions: no clock, no session, no network."""
