"""Who may use the service: the holders of API keys, or, while there is no key, whoever sits at this machine."""
