"""The model families: what differs between Whisper and Moonshine."""
