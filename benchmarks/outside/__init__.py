"""What users bring themselves: a class in a file, in an importable module, or offered by an installed package.

    my_algorithm.py                 a file with exactly one class of the wanted kind
    my_algorithm.py:MyAlgorithm     one class of several
    my_package.module:MyAlgorithm   a class that Python can import
    my_algorithm                    a name that an installed package offers through an entry point

Such a reference works wherever a built-in name does. `find` returns the class together with its source, so that a
record can hold the text of what ran.
"""

from __future__ import annotations

from benchmarks.outside.find import Found, Kind, Offer, find, is_file, offers
from benchmarks.outside.load import one_line
from benchmarks.outside.source import Source, code_of_room, read_source

__all__ = ["Found", "Kind", "Offer", "Source", "code_of_room", "find", "is_file", "offers", "one_line", "read_source"]
