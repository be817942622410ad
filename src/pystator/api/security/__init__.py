"""Who may call: keys, tokens, scopes, machines, and how often."""
