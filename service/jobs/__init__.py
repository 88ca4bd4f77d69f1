"""Long recordings that are accepted now and recognised when there is time, whatever happens in between."""
