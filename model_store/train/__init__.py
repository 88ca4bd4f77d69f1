"""Training: what makes a variant by looking at much speech. It needs torch, and never travels with the server."""
