"""A fuzzer of the whole API: any call with any value by anybody, and everything is asked for after each."""
