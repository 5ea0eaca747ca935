"""PyTorch: data, networks, losses, metrics and export. Uses `inference`, is used by nothing that ships."""
