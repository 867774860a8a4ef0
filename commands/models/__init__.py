"""Commands about models: train, compare, predict."""
