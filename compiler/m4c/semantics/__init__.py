"""From trees to meaning: names, types, constants, and the effect model that the specs declare."""
