"""A sample sky with known truth, generated from a seed: what `make demo` feeds to the jobs."""

from astrolake.demo.layout import Layout
from astrolake.demo.write import SampleSky, write_sample_sky

__all__ = ["Layout", "SampleSky", "write_sample_sky"]
