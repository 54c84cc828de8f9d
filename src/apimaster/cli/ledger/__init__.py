"""``apimaster ledger``: what was bought, what nobody knows the outcome of, and budgets."""
