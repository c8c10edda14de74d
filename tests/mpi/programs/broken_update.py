"""Catch the error of a strategy whose update fails once, go on with it mended, and compare with an undisturbed run."""

import sys

from toys import Sphere

import gamaml
from custom_strategy import SNES

OUT = sys.argv[1]
CONFIG = {
    "seed": 3,
    "strategy": "broken_update:Broken",
    "custom": {"population_size": 8},
    "noise": {"size": 100_000},
    "stop": {"generations": 4},
}


class Broken(SNES):
    """SNES whose update to generation 2 fails until it is mended."""

    mended = False

    def update(self, state, sources, part):
        """Fail, or do as SNES does."""
        if state.generation == 2 and not Broken.mended:
            raise ZeroDivisionError("the update broke")
        super().update(state, sources, part)


if __name__ == "__main__":
    from broken_update import Broken  # the class that the config names, not this script's

    try:
        gamaml.train(CONFIG, task=Sphere(), out=OUT, names=["disturbed"])
    except ZeroDivisionError as error:
        sys.stdout.write(f"caught: {error}\n")
    Broken.mended = True
    gamaml.train(CONFIG, task=Sphere(), out=OUT, names=["disturbed"], resume=True)
    gamaml.train(CONFIG, task=Sphere(), out=OUT, names=["whole"])
    digests = {gamaml.load(f"{OUT}/{name}.h5").digest() for name in ("disturbed", "whole")}
    sys.stdout.write(f"digests: {len(digests)}\n")
