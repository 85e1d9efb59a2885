"""The engine: a stream of volumes in, their embeddings out, with all the work between on the encoder's device.

    volume -> staged on the device -> slices of three planes -> batches -> encoder -> sums -> means -> projection
              side_stream             slicing                  batching   runner     averaging        engine

A volume crosses to the device once and only its embedding comes back. On a GPU the next volume is prepared beside the
encoder's work on the one before, and batches run over the border of two volumes.
"""

from raptor_search.engine.engine import Engine, average

__all__ = ["Engine", "average"]
