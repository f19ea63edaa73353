"""pysyncobj, made safe: engine, log, transport and wire format."""
