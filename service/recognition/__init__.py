"""From windows to transcripts: features, tokens, decoding, times."""
