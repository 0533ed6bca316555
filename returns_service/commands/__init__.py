"""A verb a function: lock, fire one trigger, write rows, record events. No commit and no network in here."""
