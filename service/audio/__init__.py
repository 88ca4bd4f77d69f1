"""From bytes to windows of speech: decode, resample, detect speech, cut."""
