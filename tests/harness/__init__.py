"""What all tests stand on: one shop, one wire to Stripe, one clock, real servers, and patience that counts progress."""
