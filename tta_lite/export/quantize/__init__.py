"""Post-training quantisation of a float flatbuffer: ranges, back ends, repairs."""
