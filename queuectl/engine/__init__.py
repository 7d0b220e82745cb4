"""The engine: values, store, runtime, and the facade over them."""
