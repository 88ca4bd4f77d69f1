"""Speech in, the same words under other conditions out: noise, rooms, voices, lines. Numpy, soxr and PyAV alone."""
